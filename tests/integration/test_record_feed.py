"""A record lane's feed on real files: what follows is read while a unit is on its way, and what was read is never stale."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.record_rig import make_store, segment_files, submission
from tests.shared_node import MIGRATIONS

from skerry.kit.disk import RealDisk
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sqlite import SqliteWriter
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import Continue
from skerry.node.sync.feeds import Outgoing, RecordFeed
from skerry.testing.manual_clock import ManualClock


@pytest.fixture
async def state(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[NodeStore]:
    writer = SqliteWriter(memory_dir / "node.db", MIGRATIONS, RealDisk())
    writer.start()
    store = NodeStore(memory_dir / "node.db", writer, manual_clock, "node-1", NullCipher())
    await store.open()
    yield store
    store.close()
    writer.stop()


@pytest.fixture
async def records(memory_dir: Path) -> AsyncIterator[RecordStore]:
    store = make_store(memory_dir)
    await store.start()
    for first in (1, 3, 5):
        await store.append(submission(first, first, first + 1))
    yield store
    await store.stop()


def numbers(outgoing: Outgoing | None) -> list[int]:
    assert outgoing is not None
    return [outgoing.unit.first, outgoing.through.n]


async def test_what_follows_is_read_while_a_unit_is_on_its_way(
    records: RecordStore, state: NodeStore, memory_dir: Path
) -> None:
    feed = RecordFeed("keep", 0.0, records, state, most=1)
    start = await feed.load()
    first = await feed.unit(start)
    assert numbers(first) == [1, 2]
    assert first is not None
    assert first.meanwhile is not None
    await first.meanwhile()
    [file] = segment_files(memory_dir)
    whole = file.read_bytes()
    file.write_bytes(b"")
    second = await feed.unit(first.through)
    file.write_bytes(whole)
    assert numbers(second) == [3, 4]


async def test_it_counts_only_where_it_follows(records: RecordStore, state: NodeStore) -> None:
    feed = RecordFeed("keep", 0.0, records, state, most=1)
    start = await feed.load()
    first = await feed.unit(start)
    assert first is not None
    assert first.meanwhile is not None
    await first.meanwhile()
    assert numbers(await feed.unit(start)) == [1, 2]
    await first.meanwhile()
    await feed.resume(Continue(start))
    assert numbers(await feed.unit(start)) == [1, 2]
    third = await feed.unit(first.through)
    assert numbers(third) == [3, 4]
    assert third is not None
    last = await feed.unit(third.through)
    assert numbers(last) == [5, 6]
    assert last is not None
    assert last.meanwhile is None
