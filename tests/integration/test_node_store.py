"""The node's state rows, outbox and frozen frames on a real SQLite file."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from tests.sealing_rig import key, sealing_cipher
from tests.workload_cases import wish

from skerry.core.cursors import set_digest
from skerry.core.lanes import extend
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter, StateTooNew, read_migrations
from skerry.kit.sqlite_connections import connect
from skerry.node.desired_state import StoredDesired
from skerry.node.device_workloads import DeviceBook
from skerry.node.ports import Launch
from skerry.node.store import state as state_module
from skerry.node.store.known_config import KnownConfigStore
from skerry.node.store.last_good import IN_FORCE, version_of
from skerry.node.store.state import NodeStore
from skerry.node.sync.reachability import Reachability
from skerry.wire.codec import encode
from skerry.wire.sync import NO_CHAIN, LanePoint, StateFrame, StateRow
from skerry.wire.workload import Assignment

MIGRATIONS = read_migrations(Path(state_module.__file__).with_name("migrations"))


def row(
    entity: str, row_id: str, rev: int, body: bytes = b"{}", *, deleted: bool = False
) -> StateRow:
    return StateRow(
        entity, row_id, rev, hlc=rev << 16, origin="hub", deleted=deleted, body=msgspec.Raw(body)
    )


@pytest.fixture
async def store(tmp_path: Path, clock: SystemClock, disk: RealDisk) -> AsyncIterator[NodeStore]:
    path = tmp_path / "node.db"
    writer = SqliteWriter(path, MIGRATIONS, disk)
    writer.start()
    store = NodeStore(path, writer, clock, "node-1", NullCipher())
    await store.open()
    yield store
    store.close()
    writer.stop()


async def test_edits_coalesce_until_they_are_frozen(store: NodeStore) -> None:
    await store.put("status", "cam", b'{"phase":"starting"}')
    await store.put("status", "cam", b'{"phase":"running"}')
    assert await store.freeze(100)
    (frame,) = await store.frozen(0, 10)
    rows = msgspec.json.decode(frame.body, type=StateFrame).rows
    assert [(r.id, bytes(r.body)) for r in rows] == [("cam", b'{"phase":"running"}')]
    assert (frame.n, frame.previous, frame.chain) == (1, NO_CHAIN, extend(NO_CHAIN, frame.body))
    assert not await store.freeze(100)


async def test_an_unchanged_body_is_no_edit(store: NodeStore) -> None:
    await store.put("status", "cam", b"{}")
    await store.freeze(100)
    await store.put("status", "cam", b"{}")
    assert not await store.freeze(100)


async def test_frames_keep_number_and_bytes_until_acknowledged(store: NodeStore) -> None:
    for phase in ("a", "b", "c"):
        await store.put("status", "cam", phase.encode())
        await store.freeze(1)
    first, second, third = await store.frozen(0, 10)
    assert second.previous == first.chain
    await store.acknowledge_state(LanePoint(2, second.chain), [row("status", "cam", 9)])
    assert [f.n for f in await store.frozen(2, 10)] == [3]
    assert (await store.frozen(2, 10))[0].previous == second.chain == third.previous
    assert await store.lane("state") == LanePoint(2, second.chain)


async def test_numbers_go_on_after_everything_was_acknowledged(store: NodeStore) -> None:
    await store.put("status", "cam", b"1")
    await store.freeze(1)
    (frame,) = await store.frozen(0, 10)
    await store.acknowledge_state(LanePoint(1, frame.chain), [])
    await store.put("status", "cam", b"2")
    await store.freeze(1)
    (frame,) = await store.frozen(1, 10)
    assert frame.n == 2


async def test_an_answer_never_overwrites_a_later_edit(store: NodeStore) -> None:
    await store.put("status", "cam", b"1")
    await store.freeze(1)
    await store.put("status", "cam", b"2")
    (frame,) = await store.frozen(0, 10)
    await store.acknowledge_state(LanePoint(1, frame.chain), [row("status", "cam", 7, b"1")])
    (held,) = await store.rows("status")
    assert (bytes(held.body), held.rev) == (b"2", 7)


async def test_what_the_configuration_said_is_this_devices_own(
    tmp_path: Path, disk: RealDisk
) -> None:
    path = tmp_path / "node.db"
    writer = SqliteWriter(path, MIGRATIONS, disk)
    writer.start()
    reader = writer.reader()
    cipher = sealing_cipher()
    known = KnownConfigStore(writer, reader, cipher)
    assert known.read() is None
    for body in (b"one", b"two"):
        await known.keep(body)
    node = NodeStore(path, writer, SystemClock(), "node-1", NullCipher())
    await node.open()
    assert not await node.freeze(100)
    assert await node.digest() == set_digest({})
    node.close()
    writer.stop()
    writer = SqliteWriter(path, MIGRATIONS, disk)
    writer.start()
    reader = writer.reader()
    assert KnownConfigStore(writer, reader, cipher).read() == b"two"
    with pytest.raises(Corrupt):
        KnownConfigStore(writer, reader, sealing_cipher(key(2))).read()
    writer.stop()


async def test_a_full_pull_forgets_rows_that_are_not_named(store: NodeStore) -> None:
    await store.put("status", "own", b"{}")
    await store.apply_pull([row("assignment", "a", 1), row("assignment", "b", 2)], "c1")
    rings = store.assignments_changed.count
    await store.apply_pull([row("assignment", "b", 2)], "c2", whole={("assignment", "b")})
    assert [r.id for r in await store.rows("assignment")] == ["b"]
    assert [r.id for r in await store.rows("status")] == ["own"]
    assert store.assignments_changed.count == rings + 1
    assert await store.fact("cursor") == "c2"


async def test_a_tombstone_removes_the_row_and_changes_the_digest(store: NodeStore) -> None:
    empty = await store.digest()
    await store.apply_pull([row("assignment", "a", 1)], "c1")
    assert await store.digest() != empty
    await store.apply_pull([row("assignment", "a", 2, deleted=True)], "c2")
    assert await store.digest() == empty


async def kept(store: NodeStore) -> dict[str, str]:
    return {row.id: version_of(row.body, row.rev) for row in await store.rows(IN_FORCE)}


async def test_the_last_version_that_was_one_is_kept_until_there_is_another(
    store: NodeStore,
) -> None:
    def cam(rev: int, *, good: bool = True, deleted: bool = False) -> StateRow:
        body = encode(wish("cam", rev)) if good else b'{"workload": "cam"}'
        return row("assignment", "cam", rev, body, deleted=deleted)

    await store.apply_pull([cam(1), cam(2, good=False), cam(3, good=False)], "c1")
    assert await kept(store) == {"cam": "1.1"}
    assert await store.digest() == set_digest({("assignment", "cam"): 3})
    await store.apply_pull([cam(4)], "c2")
    assert await kept(store) == {}
    await store.apply_pull([cam(5, good=False)], "c3")
    assert await kept(store) == {"cam": "1.4"}
    await store.apply_pull([cam(6, deleted=True)], "c4")
    assert await kept(store) == {}
    await store.apply_pull([cam(7), cam(8, good=False)], "c5")
    assert await kept(store) == {"cam": "1.7"}
    await store.apply_pull([], "c6", whole=set())
    assert await kept(store) == {}


@pytest.mark.parametrize("good", [False, True])
async def test_what_is_in_force_is_seen_at_one_moment(
    store: NodeStore, clock: SystemClock, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    """Neither a version that cannot be read nor the next good one takes the workload away for a moment."""
    look = store.rows
    before, after = encode(wish("cam", 2)) if not good else b"{}", encode(wish("cam", 3))
    coming = [row("assignment", "cam", 3, after if good else b"{}")]
    await store.apply_pull([row("assignment", "cam", 1, encode(wish("cam", 1)))], "c1")
    await store.apply_pull([row("assignment", "cam", 2, before)], "c2")

    async def interrupted(*entities: str) -> list[StateRow]:
        found = await look(*entities)
        if coming:
            await store.apply_pull([coming.pop()], "c3")
        return found

    async def nothing(_wanted: object) -> None:
        pass

    def launch(_assignment: Assignment, instance: str) -> Launch:
        raise AssertionError(f"{instance} is not to be started")

    monkeypatch.setattr(store, "rows", interrupted)
    link = Reachability(store, clock, None)
    desired = StoredDesired(store, link, clock, nothing, [], DeviceBook(launch))
    for _ in range(2):
        assert [each.workload for each in await desired.assignments()] == ["cam"]


async def test_a_new_incarnation_sends_own_state_again_from_one(store: NodeStore) -> None:
    await store.put("status", "cam", b"1")
    await store.apply_pull([row("assignment", "a", 1)], "c1")
    await store.freeze(10)
    (frame,) = await store.frozen(0, 10)
    await store.acknowledge_state(LanePoint(1, frame.chain), [row("status", "cam", 3, b"1")])
    before = store.incarnation
    assert await store.new_incarnation() != before
    await store.freeze(10)
    (frame,) = await store.frozen(0, 10)
    assert (frame.n, frame.previous) == (1, NO_CHAIN)
    assert [r.entity for r in msgspec.json.decode(frame.body, type=StateFrame).rows] == ["status"]


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, disk: RealDisk) -> None:
    path = tmp_path / "newer.db"
    connection = connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateTooNew, match="this build knows"):
        SqliteWriter(path, MIGRATIONS, disk).start()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path, disk: RealDisk) -> None:
    path = tmp_path / "noise.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="noise.db"):
        SqliteWriter(path, MIGRATIONS, disk).start()


async def test_a_row_whose_clock_the_hub_has_set_right_is_not_sent_again(store: NodeStore) -> None:
    await store.put("status", "cam", b'{"phase":"running"}')
    await store.freeze(100)
    (frame,) = await store.frozen(0, 10)
    taken = row("status", "cam", 9, b'{"phase":"running"}')
    await store.acknowledge_state(LanePoint(1, frame.chain), [taken])
    assert await store.unsent() == 0
    assert await store.rows("status") == [taken]


async def test_a_job_that_fails_is_undone_alone_or_among_others(
    tmp_path: Path, disk: RealDisk
) -> None:
    """A lone one has the transaction for itself, others a savepoint each."""
    writer = SqliteWriter(tmp_path / "node.db", ["CREATE TABLE t (v INTEGER PRIMARY KEY);"], disk)
    writer.start()
    entered, go = threading.Event(), threading.Event()

    def put(value: int, *, then_fail: bool = False) -> Callable[[sqlite3.Connection], None]:
        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO t VALUES (?)", (value,))
            if then_fail:
                raise ValueError

        return work

    def hold(_: sqlite3.Connection) -> None:
        entered.set()
        go.wait(60.0)

    with pytest.raises(ValueError):  # noqa: PT011 - the one above
        await writer.run(put(1, then_fail=True), label="test")
    await writer.run(put(2), label="test")
    holding = writer.submit(hold, label="test")
    await asyncio.to_thread(entered.wait, 60.0)
    jobs = [writer.submit(put(each, then_fail=each == 4), label="test") for each in (3, 4, 5)]
    go.set()
    holding.result()
    assert [type(job.exception()) for job in jobs] == [type(None), ValueError, type(None)]
    with contextlib.closing(writer.reader()) as reader:
        assert [row["v"] for row in reader.execute("SELECT v FROM t ORDER BY v")] == [2, 3, 5]
    writer.stop()
