"""What the hub says of its storage, on each database."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.hub_rig import DAY, HubRig, Lanes, batch

from skerry.core.stream_rules import Rule, Rules
from skerry.hub.data.completeness import Asked, Completeness
from skerry.hub.data.query import RecordQuery
from skerry.hub.data.retention import Ages, Retention
from skerry.hub.data.storage import LITTLE, Storage, disk_problem
from skerry.hub.store.hub_store import HubStore
from skerry.kit.errors import Refused

RULES = Rules.of([Rule("cam.*", keep=90 * DAY)])


AGES = Ages(measurement=7 * DAY, event=30 * DAY, gap=30 * DAY, file=30 * DAY)


def storage_of(hub: HubRig, data_dir: Path) -> Storage:
    return Storage(hub.store, data_dir, Retention(hub.store, AGES, RULES), hub.clock)


async def test_tables_streams_and_what_holds_for_them(hub: HubRig, tmp_path: Path) -> None:
    node, lanes = await hub.enrol("n1"), Lanes()
    now = hub.clock.wall_ns()
    for name, first, count in (("cam.x", 1, 300), ("env.t", 301, 100)):
        many = batch(*range(count), name=name, counter=first, at=now + first)
        await hub.push(node.node_id, lanes.unit("keep", [many]))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "ab").write_bytes(bytes(500_000))
    report = await storage_of(hub, tmp_path).report()
    assert report.used == sum(line.bytes for line in report.lines)
    assert report.counted == 1.0
    streams = {use.name: use for use in report.streams}
    assert (streams["cam.x"].records, streams["cam.x"].node) == (300, "n1")
    assert (streams["cam.x"].oldest, streams["cam.x"].newest) == (now + 1, now + 300)
    assert (streams["cam.x"].rule, streams["env.t"].rule) == ("cam.*: 90d", "measurements")
    lines = {line.what: line for line in report.lines}
    assert lines["files"].bytes >= 500_000
    assert {"series", "session", "batch"} <= lines.keys() or lines["tables"].bytes
    records = [line for line in report.lines if line.what.startswith("record")]
    assert all("retention: " in line.why and "or a rule" in line.why for line in records)
    assert report.growth is None  # not long enough ago


async def test_of_many_records_a_part_is_counted_and_that_is_said(
    hub: HubRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.hub.data.storage._COUNTED", 1000)
    node, lanes = await hub.enrol(), Lanes()
    for number in range(10):
        parts = [batch(*range(500), name=f"x{name}", counter=1 + 500 * (2 * number + name), at=hub.clock.wall_ns()) for name in (0, 1)]  # fmt: skip
        await hub.push(node.node_id, lanes.unit("keep", parts))
        hub.clock.advance(1)
    report = await storage_of(hub, tmp_path).report()
    assert report.counted < 0.5
    assert abs(sum(use.records for use in report.streams) - 10_000) <= 2


async def test_growth_by_what_came_within_the_last_day(hub: HubRig, tmp_path: Path) -> None:
    node, lanes = await hub.enrol(), Lanes()
    for number in range(4):
        many = batch(*range(500), counter=1 + 500 * number, at=hub.clock.wall_ns())
        await hub.push(node.node_id, lanes.unit("keep", [many]))
        hub.clock.advance(DAY / 2)
    growth = (await storage_of(hub, tmp_path).report()).growth
    assert growth is not None
    assert growth.seconds == int(DAY)
    assert growth.per_day > 1000 * 20
    assert growth.full_in is not None
    hub.clock.advance(
        6 * DAY
    )  # the oldest is as old as it gets: what comes takes the place of what goes
    steady = (await storage_of(hub, tmp_path).report()).growth
    assert steady is not None
    assert steady.full_in is None


async def test_all_of_a_sqlite_hub_agrees_with_the_directory(tmp_path: Path, hub: HubRig) -> None:
    if hub.store.shared:
        return
    node, lanes = await hub.enrol(), Lanes()
    for number in range(5):
        many = batch(*range(2000), counter=1 + 2000 * number, at=hub.clock.wall_ns())
        await hub.push(node.node_id, lanes.unit("keep", [many]))
    await hub.store.read(lambda c: c.exec_driver_sql("PRAGMA wal_checkpoint(FULL)").all())
    report = await storage_of(hub, tmp_path).report()
    there = sum(each.lstat().st_blocks * 512 for each in [tmp_path, *tmp_path.rglob("*")])
    assert abs(report.used - there) < 0.05 * there


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("slow", ["skerry.hub.data.storage._count", "skerry.hub.data.completeness._open_holes"])  # fmt: skip
async def test_a_report_that_reads_for_long_keeps_no_reader_from_nodes(
    hub: HubRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    node = await hub.enrol()
    await hub.push(node.node_id, Lanes().unit("keep", [batch(1)]))
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        begun.set()
        assert go_on.wait(20)
        raise Refused("enough")

    monkeypatch.setattr(slow, wait)
    store = HubStore(hub.url, hub.clock, readers=1, encryption=hub.encryption)
    store.start()
    try:
        storage = Storage(store, tmp_path, Retention(store, AGES, RULES), hub.clock)
        completeness = Completeness(store, RecordQuery(store), hub.clock)
        asked = Asked("*", None, None, "measurement", None, None, 3.0)
        report = storage.report() if "storage" in slow else completeness.report(asked)
        waiting = asyncio.create_task(report)
        assert await asyncio.to_thread(begun.wait, 20)
        reading = store.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        assert await asyncio.wait_for(reading, 30) == 1
    finally:
        go_on.set()
        store.stop()
    with pytest.raises(Refused):
        await waiting


def test_a_disk_with_little_room_is_a_problem_in_words() -> None:
    assert disk_problem(LITTLE) == ""
    assert disk_problem(0).startswith("the hub's disk is full: nodes keep")
    assert disk_problem(30_000_000).startswith("the hub's disk has only 30 MB left: nodes keep")
