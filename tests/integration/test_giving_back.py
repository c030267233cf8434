"""Room that nothing uses goes back to the disk, in steps that hold up nobody."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from tests.hub_rig import DAY, HubRig, Lanes, batch
from tests.sealed_node import sealed_node

from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.kit.sqlite_connections import ROOM, connect
from skerry.node.store.opening import opened
from skerry.testing.manual_clock import ManualClock

MB = 1_000_000


def used(path: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in path.parent.glob(f"{path.name}*"))


def fill(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS ballast (body BLOB)")
    db.executemany("INSERT INTO ballast VALUES (?)", ((os.urandom(4000),) for _ in range(2500)))


def empty(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM ballast")


async def test_a_nodes_database_shrinks_to_what_it_holds_and_its_room(
    tmp_path: Path, clock: SystemClock, disk: RealDisk
) -> None:
    path = tmp_path / "node.db"
    async with opened(tmp_path, "n1", clock, disk) as store:
        await store.writer.run(fill, label="fill")
        assert used(path) > 10 * MB
        await store.writer.run(empty, label="empty")
        steps = 0
        while await store.writer.give_back():
            steps += 1
            await store.state.put(
                "status", "cam", b'{"n":%d}' % steps
            )  # others' jobs come in between
        assert 5 < steps < 15
        assert used(path) < 4.5 * ROOM
        await store.state.put("status", "cam", b"{}")
        free = store.reader.execute("PRAGMA freelist_count").fetchone()[0] * 4096
        assert ROOM <= free < 2 * ROOM + MB  # what a full disk must not take away
        assert store.reader.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_a_database_from_before_is_written_anew_once(
    tmp_path: Path, clock: SystemClock, disk: RealDisk
) -> None:
    path = tmp_path / "node.db"
    async with opened(tmp_path, "n1", clock, disk) as store:
        await store.state.put("status", "cam", b'{"n":1}')
    db = connect(path)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA auto_vacuum = NONE")
    db.execute("VACUUM")
    db.execute("BEGIN")
    fill(db)
    db.execute("COMMIT")
    empty(db)
    db.close()
    async with opened(tmp_path, "n1", clock, disk) as store:
        assert store.reader.execute("PRAGMA auto_vacuum").fetchone()[0] == 0
        while await store.writer.give_back():
            pass
        assert used(path) < 4.5 * ROOM
        [row] = await store.state.rows("status")
        assert bytes(row.body) == b'{"n":1}'
    async with opened(tmp_path, "n1", clock, disk) as store:
        assert store.reader.execute("PRAGMA auto_vacuum").fetchone()[0] == 2


async def test_eight_days_later_the_hubs_file_is_small_again(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    """The document's C18: records of seven days, the clock moved by eight: rows gone, file smaller."""
    rig = HubRig(f"sqlite:///{tmp_path / 'hub.db'}", manual_clock)
    await rig.start()
    try:
        node, lanes = await rig.enrol(), Lanes()
        for start in range(0, 40_000, 4000):
            many = batch(
                *("y" * 400 for _ in range(4000)),
                counter=start + 1,
                at=manual_clock.wall_ns() + start,
            )
            await rig.push(node.node_id, lanes.unit("keep", [many]))
        before = await pages(rig.store)
        manual_clock.advance(8 * DAY)
        assert await rig.retention.sweep(manual_clock.wall_ns()) == 40_000
        busy = asyncio.create_task(give_back(rig.store))
        await rig.push(
            node.node_id, lanes.unit("keep", [batch(1, counter=50_000)])
        )  # is taken meanwhile
        assert 1 < await busy < 20  # small steps, not tiny ones
        await rig.push(node.node_id, lanes.unit("keep", [batch(2, counter=50_001)]))
        assert await pages(rig.store) < before - 2000
        assert before * 4096 > 15 * MB
    finally:
        rig.stop()
    assert (tmp_path / "hub.db").stat().st_size < 7 * MB
    db = connect(tmp_path / "hub.db", read_only=True)
    assert db.execute("SELECT count(*) FROM record").fetchone()[0] == 2
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


async def pages(store: HubStore) -> int:
    return await store.read(lambda c: int(c.exec_driver_sql("PRAGMA page_count").scalar_one()))


async def give_back(store: HubStore) -> int:
    steps = 0
    while await store.give_back():
        steps += 1
    return steps


async def test_where_bodies_are_sealed_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    async with sealed_node(tmp_path) as node:
        assert await node.store.writer.run(secure_delete, label="look") == 1


def secure_delete(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA secure_delete").fetchone()[0])


async def test_what_cannot_be_emptied_now_fails_alone(
    tmp_path: Path, clock: SystemClock, disk: RealDisk
) -> None:
    async with opened(tmp_path, "n1", clock, disk) as store:
        await store.writer.run(
            lambda db: db.execute("PRAGMA busy_timeout = 1").fetchone(), label="haste"
        )
        go = threading.Event()
        held = store.writer.submit(lambda _: go.wait(), label="hold")
        with contextlib.closing(connect(tmp_path / "node.db", read_only=True)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            compacting = asyncio.ensure_future(store.writer.compact())
            putting = asyncio.ensure_future(store.state.put("status", "cam", b'{"n":1}'))
            await asyncio.sleep(0)  # both wait for the same commit
            go.set()
            with pytest.raises(Transient, match="somebody is reading"):
                await compacting
            await putting
        assert held.result()
        [row] = await store.state.rows("status")
        assert bytes(row.body) == b'{"n":1}'
        await store.writer.compact()
