"""Rules for names at the hub: by age and by bytes, exactly what they say, on each database."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection
from tests.hub_rig import DAY, HubRig, Lanes, batch

from skerry.core.stream_rules import Rule, Rules
from skerry.hub.data import stream_retention
from skerry.hub.data.retention import Ages, Retention
from skerry.hub.data.stream_retention import ROW_BYTES
from skerry.hub.files.shelf import Shelf, Wanted
from skerry.wire.records import Kind, Value

RULES = Rules.of([Rule("cam.*", keep=2 * DAY), Rule("cam.front", keep=20 * DAY), Rule("raw", bytes=100 * ROW_BYTES)])  # fmt: skip


class Hub:
    """A hub with rules whose node publishes."""

    def __init__(self, rig: HubRig, rules: Rules = RULES) -> None:
        ages = Ages(measurement=7 * DAY, event=30 * DAY, gap=30 * DAY, file=30 * DAY)
        self.rig = rig
        self.retention = Retention(rig.store, ages, rules)
        self.lanes = Lanes()
        self.counter = 1
        self.node = ""

    async def put(self, *values: Value, name: str, kind: Kind = "measurement") -> None:
        """Publishes now, one record a nanosecond."""
        if not self.node:
            self.node = (await self.rig.enrol()).node_id
            await self.retention.prepare(self.rig.clock.wall_ns())
        now = self.rig.clock.wall_ns()
        one = batch(*values, name=name, kind=kind, at=now, counter=self.counter)
        self.counter += len(values)
        lane = "event" if kind in {"event", "file"} else "keep"
        await self.rig.push(self.node, self.lanes.unit(lane, [one]))

    async def sweep(self) -> int:
        return await self.retention.sweep(self.rig.clock.wall_ns())

    async def left(self) -> list[tuple[str, Value]]:
        rows = (await self.rig.query.records(limit=1000)).rows
        return [(row.name, row.value) for row in rows]

    def pass_days(self, days: float) -> None:
        self.rig.clock.advance(days * DAY)


async def test_each_stream_goes_at_its_own_age(hub: HubRig) -> None:
    site = Hub(hub)
    for name in ("cam.back", "cam.front", "env.x"):
        await site.put(1, name=name)
    site.pass_days(1.5)
    await site.put(2, name="cam.back")
    site.pass_days(1)
    assert await site.sweep() == 1
    assert await site.left() == [("cam.front", 1), ("env.x", 1), ("cam.back", 2)]
    site.pass_days(5)
    await site.sweep()
    assert await site.left() == [("cam.front", 1)]
    site.pass_days(14)
    await site.sweep()
    assert await site.left() == []


async def test_a_rule_is_for_events_of_its_name_too_and_never_for_gaps(hub: HubRig) -> None:
    site = Hub(hub, Rules.of([Rule("*", keep=DAY)]))
    await site.put("on", name="door", kind="event")
    await site.put(3, name="keep", kind="gap")
    site.pass_days(2)
    await site.sweep()
    assert await site.left() == [("keep", 3)]


async def test_of_a_stream_above_its_bytes_the_oldest_go(hub: HubRig) -> None:
    site = Hub(hub)
    for start in range(0, 250, 50):
        await site.put(*range(start, start + 50), name="raw")
        site.pass_days(0.01)
    await site.put(*range(150), name="env.x")
    assert await site.sweep() == 150
    left = await site.left()
    assert [value for name, value in left if name == "raw"] == list(range(150, 250))
    assert len(left) == 250
    assert await site.sweep() == 0


async def test_texts_count_with_their_length(hub: HubRig) -> None:
    site = Hub(hub, Rules.of([Rule("log", bytes=10_000)]))
    await site.put(*("x" * 928 for _ in range(50)), name="log")
    await site.sweep()
    sealed = hub.store.keys is not None
    assert len(await site.left()) == (
        7 if sealed else 10
    )  # as it lies there: 34 bytes and base64 more


async def test_a_device_whose_clock_is_behind_loses_nothing_by_age(hub: HubRig) -> None:
    site = Hub(hub)
    await site.put(1, name="cam.back")
    await site.put(0, name="env.x")  # so that not all of the kind goes at once
    old = batch(2, name="cam.back", at=5, counter=99)
    await hub.push(site.node, site.lanes.unit("keep", [old]))
    assert await site.sweep() == 0
    site.pass_days(3)
    assert await site.sweep() == 2
    assert await site.left() == [("env.x", 0)]


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("kind", ["measurement", "file"])
async def test_what_comes_during_a_sweep_after_a_long_silence_stays(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    site = Hub(hub, Rules.of([Rule("cam.*", keep=3600.0)]))
    old, new = (f"sha256:{number:064x}:1000" for number in range(2))
    await site.put(old, name="env.x", kind=kind)  # so that not all of the kind has one age
    await site.put(old, name="cam.back", kind=kind)
    site.pass_days(2 / 24)
    monkeypatch.setattr(stream_retention, "_STEP_KEYS", 1)
    write = hub.store.write

    async def and_a_node_comes_back(work: Callable[[Connection], object]) -> object:
        done = await write(work)
        if getattr(work, "func", None) is stream_retention._delete and site.counter == 3:
            await site.put(new, name="cam.back", kind=kind)
        return done

    monkeypatch.setattr(hub.store, "write", and_a_node_comes_back)
    assert await site.sweep() == 1
    assert await site.left() == [("env.x", old), ("cam.back", new)]
    if kind == "file":
        assert len((await hub.shelf.list(Wanted(), 10)).files) == 2


async def test_what_was_removed_is_told_by_rule(hub: HubRig) -> None:
    site = Hub(hub)
    await site.put(1, 2, name="cam.back")
    await site.put(1, name="env.x")
    site.pass_days(3)
    await site.sweep()
    site.pass_days(5)
    await site.sweep()
    found = await hub.store.read(lambda c: c.exec_driver_sql("SELECT rule, records FROM retention_removed ORDER BY 1").all())  # fmt: skip
    assert [tuple(row) for row in found] == [("cam.*: 2d", 2), ("measurements", 1)]


async def test_files_of_a_name_go_by_their_own_bytes_with_what_lists_them(hub: HubRig) -> None:
    site = Hub(hub, Rules.of([Rule("cam.jpg", bytes=2500)]))
    for number in range(4):
        await site.put(f"sha256:{number:064x}:1000", name="cam.jpg", kind="file")
        site.pass_days(0.1)
    await site.put(f"sha256:{9:064x}:5000", name="other.jpg", kind="file")
    assert await site.sweep() == 2
    listed = (await hub.shelf.list(Wanted(), 10)).files
    assert [file.sha256[-1] for file in listed] == ["2", "3", "9"]
    assert [str(value)[70] for _, value in await site.left()] == ["2", "3", "9"]


async def test_a_file_that_a_rule_keeps_longer_stays_listed_and_the_others_do_not(hub: HubRig) -> None:  # fmt: skip
    site = Hub(hub, Rules.of([Rule("cam.jpg", keep=90 * DAY)]))
    shelf = Shelf(hub.store, hub.file_blobs, hub.arrivals, 90 * DAY)
    for number, name in enumerate(("cam.jpg", "other.jpg")):
        await site.put(f"sha256:{number:064x}:1000", name=name, kind="file")
    site.pass_days(31)
    assert await site.sweep() == 1
    await shelf.sweep(hub.clock.wall_ns())
    assert [file.name for file in (await shelf.list(Wanted(), 10)).files] == ["cam.jpg"]


async def test_many_records_go_in_steps_between_which_pushes_come(
    hub: HubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.hub.data.stream_retention._STEP_KEYS", 10)
    site = Hub(hub)
    await site.put(*range(95), name="cam.back")
    await site.put(1, name="env.x")
    site.pass_days(3)
    steps: list[object] = []
    write = hub.store.write

    async def counted(work: Callable[[Connection], object]) -> object:
        steps.append(await write(work))
        return steps[-1]

    monkeypatch.setattr(hub.store, "write", counted)
    assert await site.sweep() == 95
    assert steps.count(10) == 9
