"""Rows of workloads and instances on a real SQLite file."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.sealing_rig import sealing_cipher
from tests.workload_cases import NOW, live, row, wish
from tests.workload_rig import MIGRATIONS

from skerry.kit.disk import RealDisk
from skerry.kit.sqlite import SqliteWriter
from skerry.kit.sqlite_connections import connect
from skerry.node.ports import ProcessIdentity
from skerry.node.store.instances import (
    KEPT_INSTANCES,
    ActualWorkload,
    Ended,
    History,
    InstanceStore,
    Lock,
    Transition,
)
from skerry.wire.workload import Exit, Ready, Restart


class Store(InstanceStore):
    """With its connections, so that a test can look into the file."""

    def __init__(self, path: Path) -> None:
        self.writer = SqliteWriter(path, MIGRATIONS, RealDisk())
        self.writer.start()
        self.reader = connect(path, read_only=True)
        super().__init__(self.writer, self.reader, sealing_cipher())

    async def put(self, actual: ActualWorkload, ended: Ended | None = None) -> None:
        await self.save([Transition(actual, ended)], label="test")

    def close(self) -> None:
        self.reader.close()
        self.writer.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "node.db")
    yield store
    store.close()


FULL = replace(
    live(
        wish("a", n=3, epoch=2, restarts=4, env={"A": "b"}, ready=Ready(tcp=80)),
        "stopping",
        kill_at=NOW.monotonic + 5,
        kills=2,
        message="m",
        probe="p",
        due=17,
        history=History(3, (1, 2, 3), half_open=True),
        exit=Exit(code=None, signal=9, at=12, reason="out of memory"),
        isolation="standard: cgroup v1 (memory)",
    ),
    ready=True,
)
assert FULL.instance
FULL = replace(FULL, instance=replace(FULL.instance, lock=Lock(1, 2, 3, "landing")))


@pytest.mark.parametrize(
    "actual",
    [FULL, row(), row(exit=Exit(at=9)), row(exit=Exit(code=0, at=9)), live(pid=None)],
    ids=["everything", "nothing", "unknown exit", "code 0", "no identity yet"],
)
async def test_a_row_comes_back_as_it_was_written(store: Store, actual: ActualWorkload) -> None:
    await store.put(actual)
    assert store.read("a") == actual
    assert store.load() == {"a": actual}


async def test_a_promotion_swaps_two_live_instances_at_once(store: Store) -> None:
    old, new = live(wish(n=1), instance="i1"), live(wish(n=2, command="new"), instance="i2")
    assert new.instance
    successor = replace(new, instance=replace(new.instance, slot=1))
    await store.put(replace(old, beside=successor))
    assert store.read("a") == replace(old, beside=successor)
    promoted = replace(successor, beside=old)
    await store.put(promoted)
    assert store.load() == {"a": promoted}
    crashed = replace(promoted, instance=None, phase="backoff")
    await store.put(crashed, Ended("i2", Exit(code=1, at=7)))
    assert store.read("a") == crashed


async def test_a_transition_ends_one_instance_and_begins_another(store: Store) -> None:
    await store.put(live(instance="i1"))
    after = live(phase="starting", instance="i2", pid=None)
    await store.put(after, Ended("i1", Exit(code=3, at=77)))
    assert store.read("a") == after
    found = store.reader.execute("SELECT id, ended_at, exit_code FROM instance ORDER BY id")
    assert [tuple(one) for one in found] == [("i1", 77, 3), ("i2", None, None)]


async def test_two_live_instances_of_one_workload_are_refused_as_a_whole(store: Store) -> None:
    before = live(instance="i1")
    await store.put(before)
    other = row(wish("b"))
    with pytest.raises(sqlite3.IntegrityError):
        await store.save([Transition(other), Transition(live(instance="i2"))], label="test")
    assert store.load() == {"a": before}


async def test_identity_and_deadline_are_updated_in_place(store: Store) -> None:
    await store.put(live(phase="starting", pid=None))
    known = live(pid=99, kill_at=5, kills=1)
    await store.put(known)
    assert store.read("a") == known
    assert known.instance
    assert known.instance.identity == ProcessIdentity("boot-1", 99, 70)


async def test_the_newest_ended_instances_are_kept(store: Store) -> None:
    for n in range(KEPT_INSTANCES + 5):
        await store.put(live(instance=f"i{n:02}"))
        await store.put(row(), Ended(f"i{n:02}", Exit(code=0, at=n)))
    kept = [one["id"] for one in store.reader.execute("SELECT id FROM instance ORDER BY id")]
    assert kept == [f"i{n:02}" for n in range(5, KEPT_INSTANCES + 5)]


async def test_removing_forgets_one_workload_with_its_past(store: Store) -> None:
    await store.put(live(instance="i1"))
    await store.put(row(), Ended("i1", Exit(at=1)))
    await store.put(live(wish("b"), instance="i2"))
    await store.remove("a", label="test")
    assert list(store.load()) == ["b"]
    assert [one["id"] for one in store.reader.execute("SELECT id FROM instance")] == ["i2"]
    assert store.read("a") is None


async def test_what_people_wrote_goes_through_the_cipher(store: Store) -> None:
    secret = wish("a", env={"TOKEN": "s3cret"}, restart=Restart(attempts=3))
    await store.put(live(secret))
    (stored,) = store.reader.execute("SELECT assignment FROM workload").fetchone()
    assert b"s3cret" not in stored
    found = store.read("a")
    assert found
    assert found.assignment == secret
