"""Records in PostgreSQL's partitions: each once in whichever, dropped by age of receipt, whatever devices' clocks say."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from sqlalchemy import Connection
from tests.hub_rig import DAY, HubRig, batch
from tests.postgres import Postgres

from skerry.hub.store import partitions
from skerry.kit.clock import NS
from skerry.kit.errors import Transient
from skerry.testing.manual_clock import ManualClock
from skerry.wire.files import FileRef
from skerry.wire.records import Batch

pytestmark = pytest.mark.postgres

WEEK = 7 * DAY


@pytest.fixture
async def hub(postgres: Postgres, manual_clock: ManualClock) -> AsyncIterator[HubRig]:
    with postgres.database() as url:
        rig = HubRig(url, manual_clock)
        await rig.start()
        await rig.retention.prepare(manual_clock.wall_ns())
        yield rig
        rig.stop()


async def put(hub: HubRig, *batches: Batch) -> None:
    now = hub.clock.wall_ns()
    work = hub.ingest.ingest
    await hub.store.write(lambda connection: work(connection, "n", "boot-1", now, batches)())


async def where(hub: HubRig) -> dict[str, int]:
    """How many records lie in each partition that has any."""
    query = "SELECT tableoid::regclass::text, count(*) FROM record GROUP BY 1"
    rows = await hub.store.read(lambda connection: connection.exec_driver_sql(query).all())
    return {row[0]: row[1] for row in rows}


async def held(hub: HubRig) -> list[partitions.Partition]:
    return await hub.store.read(lambda connection: partitions.read(connection, "measurement"))


async def values(hub: HubRig) -> list[object]:
    return sorted(row.value for row in (await hub.query.records()).rows)


async def test_records_of_files_lie_in_partitions_of_their_own(hub: HubRig) -> None:
    now = hub.clock.wall_ns()
    names = batch(str(FileRef("0" * 64, 5)), name="cam/a.bin", kind="file", at=now)
    await put(hub, names, batch(1, at=now, counter=9))
    kinds = {table.rpartition("_")[0]: count for table, count in (await where(hub)).items()}
    assert kinds == {"record_file": 1, "record_measurement": 1}
    [row] = (await hub.query.records(kind="file")).rows
    assert row.name == "cam/a.bin"


async def test_partitions_are_made_ahead_and_only_once(hub: HubRig) -> None:
    now = hub.clock.wall_ns()
    made = await held(hub)
    assert made[0].lower <= now < made[0].upper
    assert made[-1].upper >= now + partitions.AHEAD
    assert all(one.upper == other.lower for one, other in pairwise(made))
    await hub.retention.prepare(now)
    assert await held(hub) == made
    await put(hub, batch(1, at=now), batch("e", at=now, kind="event"))
    day = made[0].table.removeprefix("record_measurement_")
    assert await where(hub) == {f"record_measurement_{day}": 1, f"record_event_{day}": 1}


@pytest.mark.guarantee("G1")
async def test_a_record_that_comes_again_is_the_same_row_however_partitions_have_changed(
    hub: HubRig,
) -> None:
    now = hub.clock.wall_ns()
    far, odd = now + 10 * int(DAY) * NS, -(2**62)
    sent = [batch(i, at=at, counter=i + 1) for i, at in enumerate((now, far, odd, 2**62))]
    await put(hub, *sent)
    assert (await where(hub))["record_measurement_default"] == 3
    hub.clock.advance(5 * DAY)
    await hub.retention.prepare(hub.clock.wall_ns())
    assert (await where(hub))["record_measurement_default"] == 2  # one has a partition now
    await put(
        hub, *sent
    )  # the hub was put back, or the node was: everything comes again, days later
    assert await values(hub) == [0, 1, 2, 3]


async def test_a_partition_goes_as_a_whole_when_all_in_it_was_here_long_enough(hub: HubRig) -> None:
    now = hub.clock.wall_ns()
    await put(hub, batch(*range(50), at=now))
    [first] = await where(hub)
    hub.clock.advance(WEEK - 3600)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 0
    hub.clock.advance(DAY + 3600)  # a partition is one day
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 50
    assert first not in [part.table for part in await held(hub)]


async def test_what_came_late_keeps_its_partition_and_old_rows_are_then_deleted_in_it(
    hub: HubRig,
) -> None:
    start = hub.clock.wall_ns()
    await put(hub, batch(1, at=start))
    hub.clock.advance(6 * DAY)
    await put(hub, batch(2, at=start + 1, counter=2))  # the node was offline for six days
    hub.clock.advance(2.5 * DAY)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 0
    assert await values(hub) == [1, 2]
    hub.clock.advance(DAY)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 1
    assert await values(hub) == [2]
    hub.clock.advance(4 * DAY)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 1


async def test_a_wrong_device_clock_loses_nothing(hub: HubRig) -> None:
    await put(hub, batch(1, at=0), batch(2, at=2**62, counter=2))
    hub.clock.advance(WEEK - 1)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 0
    hub.clock.advance(2)
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 2


async def test_who_reads_for_long_puts_a_drop_off_and_nothing_else(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_PATIENCE", "100ms")
    await put(hub, batch(1, at=hub.clock.wall_ns()))
    [part] = [part for part in await held(hub) if part.table in await where(hub)]
    hub.clock.advance(9 * DAY)
    before = hub.clock.wall_ns() - int(WEEK) * NS

    def read(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT count(*) FROM record").scalar_one()
        dropping = hub.store._writer.submit(
            lambda other: partitions.drop(other, "measurement", part, before)
        )
        with pytest.raises(Transient, match="lock timeout"):
            dropping.result(30)

    await hub.store.read(read)
    assert await values(hub) == [1]
    assert await hub.retention.sweep(hub.clock.wall_ns()) == 1


def test_widths_may_change_and_times_that_are_over_are_left_out() -> None:
    day, now = partitions.DAY, 20_000 * partitions.DAY + 5
    assert partitions.width(30 * day) == day
    assert partitions.width(365 * day) == 7 * day
    daily = partitions.missing("event", [], 30 * day, now)
    assert [part.lower for part in daily] == [(20_000 + n) * day for n in range(8)]
    later = now + 4 * day
    weekly = partitions.missing("event", daily, 365 * day, later)
    assert weekly[0].lower == daily[-1].upper
    assert weekly[-1].upper % (7 * day) == 0
    assert weekly[-1].upper >= later + partitions.AHEAD
    slept = partitions.missing("event", daily, 30 * day, now + 100 * day)
    assert slept[0].lower == 20_100 * day
