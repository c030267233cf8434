"""A row lane's feed on a real store: which frame goes next, and what a hello says about the hub."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.shared_node import SharedNode, of_hub

from skerry.kit.bell import Bell
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import Continue, HubWentBack
from skerry.node.sync.row_feed import RowFeed
from skerry.testing.manual_clock import ManualClock
from skerry.wire.shared import Declaration, EditFrame
from skerry.wire.sync import LanePoint, PushReply, PushUnit

NAME = "recipe"


@pytest.fixture
async def node(memory_dir: Path, manual_clock: ManualClock) -> AsyncIterator[SharedNode]:
    node = SharedNode(memory_dir, manual_clock)
    await node.rows.declare(NAME, Declaration())
    yield node
    node.close()


@pytest.fixture
def news() -> Bell:
    return Bell()


@pytest.fixture
async def feed(
    node: SharedNode, news: Bell, memory_dir: Path, manual_clock: ManualClock
) -> AsyncIterator[RowFeed]:
    store = NodeStore(memory_dir / "node.db", node.writer, manual_clock, "node-1", NullCipher())
    await store.open()
    changed = node.rows.changed
    yield RowFeed(
        "rows-medium", 0.0, node.frames, node.pulled, store, changed, news=news, boot_id="boot"
    )
    store.close()


def ids(unit: PushUnit) -> list[str]:
    frames = [msgspec.json.decode(frame, type=EditFrame) for frame in unit.frames]
    return [edit.id for frame in frames for edit in frame.edits]


async def test_a_hub_that_is_ahead_is_asked_for_the_answer_to_each_frame(
    node: SharedNode, feed: RowFeed
) -> None:
    for row_id in ("a", "b"):  # both were sent, and the answers went with the power
        await node.rows.put(NAME, row_id, b"{}")
        await node.frames.freeze("rows-medium")
    head = (await node.frames.frames("rows-medium", 0, 2))[-1]
    at_hub = LanePoint(head.n, head.chain)
    after = await feed.resume(Continue(at_hub))
    for row_id, rev in (("a", 4), ("b", 5)):
        outgoing = await feed.unit(after)
        assert outgoing is not None
        assert ids(outgoing.unit) == [row_id]
        await feed.confirm(PushReply("ok", at_hub, 0, revs=[rev]))
        after = at_hub
        row = await node.rows.get(NAME, row_id)
        assert row is not None
        assert (row.status, row.rev) == ("synced", rev)
    assert await feed.unit(after) is None


async def test_a_hub_that_lost_frames_may_have_lost_rows(node: SharedNode, feed: RowFeed) -> None:
    await feed.resume(Continue(LanePoint()))
    assert not node.pulled.may_have_lost(NAME)
    await feed.resume(HubWentBack(LanePoint()))
    assert node.pulled.may_have_lost(NAME)
    await node.pulled.compared(NAME, "")
    assert not node.pulled.may_have_lost(NAME)


async def test_what_the_hub_has_forgotten_is_skipped(node: SharedNode, feed: RowFeed) -> None:
    await node.rows.put(NAME, "a", b"{}")
    await node.push()
    await node.answer([1])
    await node.rows.put(NAME, "b", b"{}")
    after = await feed.resume(HubWentBack(LanePoint()))
    outgoing = await feed.unit(after)
    assert outgoing is not None
    assert (outgoing.unit.first, outgoing.unit.skipped) == (2, True)


async def test_a_version_that_came_before_an_older_answer_is_pulled_at_once(
    node: SharedNode, feed: RowFeed, news: Bell
) -> None:
    for rev in (3, 5):
        await node.rows.put(NAME, "a", b'{"x":%d}' % rev)
        outgoing = await feed.unit(await feed.load())
        assert outgoing is not None
        if rev == 5:
            await node.pull(NAME, of_hub("a", 9, b'{"x":9}'))
        frame = (await node.frames.frames("rows-medium", outgoing.unit.first - 1, 1))[0]
        assert news.count == 0
        await feed.confirm(PushReply("ok", LanePoint(frame.n, frame.chain), 0, revs=[rev]))
    assert news.count == 1
