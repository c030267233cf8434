"""A row lane's feed on a real store: which frame goes next, and what a hello says about the hub."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.shared_node import SharedNode, of_hub

from skerry.core.lanes import extend
from skerry.kit.bell import Bell
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import Continue, HubWentBack
from skerry.node.sync.pace import Pace
from skerry.node.sync.push import LanePush
from skerry.node.sync.row_feed import RowFeed
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.entities import Change, Changes
from skerry.wire.records import Meta, Value
from skerry.wire.shared import Declaration, EditFrame, Judged
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


async def test_a_lane_that_looks_in_vain_costs_the_writer_nothing(
    memory_dir: Path, manual_clock: ManualClock
) -> None:
    disk = FaultyDisk()
    node = SharedNode(memory_dir, manual_clock, disk=disk)
    try:
        await node.rows.declare(NAME, Declaration())
        await node.program.put(NAME, "a", b"{}")
        frames = SharedFrames(node.rows, NullCipher(), node.log)
        assert not await frames.freeze("rows-low")
        assert "shared.freeze.before-commit" not in disk.labels
        assert [await frames.freeze("rows-medium") for _ in range(3)] == [True, False, False]
        assert disk.labels["shared.freeze.before-commit"] == 1
    finally:
        node.close()


async def test_a_hub_that_is_ahead_is_asked_for_the_answer_to_each_frame(
    node: SharedNode, feed: RowFeed
) -> None:
    for row_id in ("a", "b"):  # both were sent, and the answers went with the power
        await node.program.put(NAME, row_id, b"{}")
        await node.frames.freeze("rows-medium")
    head = (await node.frames.frames("rows-medium", 0, 2))[-1]
    at_hub = LanePoint(head.n, head.chain)
    after = await feed.resume(Continue(at_hub))
    for row_id, rev in (("a", 4), ("b", 5)):
        outgoing = await feed.unit(after)
        assert outgoing is not None
        assert ids(outgoing.unit) == [row_id]
        if outgoing.meanwhile is not None:
            await outgoing.meanwhile()
        await feed.confirm(PushReply("ok", at_hub, 0, revs=[rev]))
        after = at_hub
    assert await feed.unit(after) is None
    rows = await node.program.list(NAME)
    assert [(row.status, row.rev) for row in rows] == [("synced", 4), ("synced", 5)]


async def test_an_idle_lane_has_the_next_edit_frozen_by_its_own_transaction(
    node: SharedNode, feed: RowFeed
) -> None:
    after = await feed.resume(Continue(LanePoint()))
    assert await feed.unit(after) is None
    await node.program.put(NAME, "a", b"{}")
    [frame] = await node.frames.frames("rows-medium", 0, 9)
    await node.program.put(NAME, "b", b"{}")  # while that is on its way
    outgoing = await feed.unit(after)
    assert outgoing is not None
    assert (outgoing.through.n, ids(outgoing.unit)) == (frame.n, ["a"])
    await node.program.put(NAME, "c", b"{}")
    assert len(await node.frames.frames("rows-medium", 0, 9)) == 1


async def test_in_a_backlog_the_next_frame_is_ready_before_the_answer_is_here(
    node: SharedNode, feed: RowFeed
) -> None:
    await node.rows.declare(NAME, Declaration(batch_size=1))
    await node.program.bulk(NAME, [(row_id, b"{}") for row_id in "abc"])
    after = await feed.resume(Continue(LanePoint()))
    statuses = []
    for rev, row_id in enumerate("abc", 1):
        outgoing = await feed.unit(after)
        assert outgoing is not None
        assert ids(outgoing.unit) == [row_id]
        if outgoing.meanwhile is not None:
            await outgoing.meanwhile()
        statuses.append([row.status for row in await node.program.list(NAME)])
        await feed.confirm(PushReply("ok", outgoing.through, 0, revs=[rev]))
        after = outgoing.through
    assert statuses == [
        ["syncing", "syncing", "pending"],
        ["synced", "syncing", "syncing"],
        ["synced", "synced", "syncing"],
    ]
    assert await feed.unit(after) is None
    assert [row.rev for row in await node.program.list(NAME)] == [1, 2, 3]


async def test_a_frame_whose_answer_could_not_be_taken_over_goes_again(
    node: SharedNode, feed: RowFeed
) -> None:
    await node.rows.declare(NAME, Declaration(batch_size=1))
    await node.program.bulk(NAME, [(row_id, b"{}") for row_id in "ab"])
    after = await feed.resume(Continue(LanePoint()))
    first = await feed.unit(after)
    assert first is not None
    assert first.meanwhile is not None
    await first.meanwhile()
    await feed.confirm(PushReply("ok", first.through, 0, revs=[]))  # not an answer to it
    second = await feed.unit(first.through)
    assert second is not None
    assert second.meanwhile is not None
    with pytest.raises(InvalidInput, match="it tells of 0 edits"):
        await second.meanwhile()
    again = await feed.unit(first.through)
    assert again is not None
    assert again.unit == first.unit
    await feed.confirm(PushReply("ok", second.through, 0, revs=[1]))
    follows = await feed.unit(second.through)
    assert follows is not None
    assert follows.unit.frames == second.unit.frames


async def test_a_hub_that_lost_frames_may_have_lost_rows(node: SharedNode, feed: RowFeed) -> None:
    await feed.resume(Continue(LanePoint()))
    assert not node.pulled.may_have_lost(NAME)
    await feed.resume(HubWentBack(LanePoint()))
    assert node.pulled.may_have_lost(NAME)
    await node.pulled.compared(NAME, "")
    assert not node.pulled.may_have_lost(NAME)


async def test_what_the_hub_has_forgotten_is_skipped(node: SharedNode, feed: RowFeed) -> None:
    await node.program.put(NAME, "a", b"{}")
    await node.push()
    await node.answer([1])
    await node.program.put(NAME, "b", b"{}")
    after = await feed.resume(HubWentBack(LanePoint()))
    outgoing = await feed.unit(after)
    assert outgoing is not None
    assert (outgoing.unit.first, outgoing.unit.skipped) == (2, True)


async def test_a_version_that_came_before_an_older_answer_is_pulled_at_once(
    node: SharedNode, feed: RowFeed, news: Bell
) -> None:
    for rev in (3, 5):
        await node.program.put(NAME, "a", b'{"x":%d}' % rev)
        outgoing = await feed.unit(await feed.load())
        assert outgoing is not None
        if rev == 5:
            await node.pull(NAME, of_hub("a", 9, b'{"x":9}'))
        frame = (await node.frames.frames("rows-medium", outgoing.unit.first - 1, 1))[0]
        assert news.count == 0
        await feed.confirm(PushReply("ok", LanePoint(frame.n, frame.chain), 0, revs=[rev]))
    assert news.count == 1


async def test_a_conflict_may_have_been_decided_before_its_answer_is_here(
    node: SharedNode, feed: RowFeed, news: Bell
) -> None:
    """The pull that brought the decision did not know of the conflict, so there has to be one that does."""
    await node.program.put(NAME, "a", b'{"x":1}')
    outgoing = await feed.unit(LanePoint())
    assert outgoing is not None
    await node.pull(NAME, of_hub("a", 9, b'{"x":9}'))
    waits = [Judged(0, "conflict", of_hub("a", 9, b'{"x":9}'))]
    judged = msgspec.Raw(msgspec.json.encode(waits))
    await feed.confirm(PushReply("ok", outgoing.through, 0, revs=[9], judged=judged))
    assert news.count == 1


async def test_a_decision_whose_answer_was_lost_is_sent_once(node: SharedNode) -> None:
    """A second one would decide of what others have edited since the first, which nobody has seen."""
    await node.hold(NAME, "a", b'{"x":1}')
    await node.program.put(NAME, "a", b'{"x":2}')
    await node.push()
    await node.answer([9], Judged(0, "conflict", of_hub("a", 9, b'{"x":3}')))
    settle = Change("settle", "a", msgspec.Raw(b'{"x":3}'))  # as the row is: only that is decided
    again = Changes([settle], again=True)
    await node.program.entities.change(NAME, again)
    (edit,) = await node.push()
    assert edit.settles
    await node.program.entities.change(NAME, again)
    await node.answer([10])
    assert await node.rows.unsent(NAME) == 0
    await node.program.entities.change(NAME, again)
    assert await node.rows.unsent(NAME) == 0


async def test_what_the_end_of_the_agent_interrupts_is_told_after_its_start(
    node: SharedNode, memory_dir: Path, manual_clock: ManualClock
) -> None:
    store = NodeStore(memory_dir / "node.db", node.writer, manual_clock, "node-1", NullCipher())
    await store.open()
    told: list[str] = []
    dies = True

    async def tell(_name: str, value: Value, meta: Meta) -> None:
        if dies and meta["row"] == "b":
            raise asyncio.CancelledError
        told.append(str(value))

    def start() -> RowFeed:
        changed = node.rows.changed
        return RowFeed(
            "rows-medium", 0.0, node.frames, node.pulled, store, changed, news=Bell(), boot_id="b", tell=tell
        )  # fmt: skip

    for row_id in ("a", "b"):
        await node.program.put(NAME, row_id, b'{"x":1}')
    feed = start()
    outgoing = await feed.unit(await feed.resume(Continue(LanePoint())))
    assert outgoing is not None
    judged = [Judged(n, "lost", of_hub(row, 9)) for n, row in enumerate(("a", "b"))]
    answer = PushReply("ok", outgoing.through, 0, revs=[9, 9], judged=msgspec.Raw(encode(judged)))
    with pytest.raises(asyncio.CancelledError):
        await feed.confirm(answer)
    assert (await node.frames.point("rows-medium")).n == 1
    dies = False
    lost = [f"row «{row}» of «recipe»: another version stands, this node's edit is in the hub's history" for row in ("a", "b")]  # fmt: skip
    for _ in range(2):
        await start().resume(Continue(outgoing.through))
        assert told == [lost[0], *lost]
    store.close()


class TakingHub:
    """Takes every unit; `units` are the numbers of their first frames."""

    def __init__(self) -> None:
        self.units: list[int] = []

    async def push(self, unit: PushUnit) -> PushReply:
        self.units.append(unit.first)
        chain = extend(unit.previous, bytes(unit.frames[0]))
        return PushReply("ok", LanePoint(unit.first, chain), 0, revs=[unit.first])


def passes(clock: ManualClock) -> bool:
    """Half a minute: longer than anybody waits."""
    clock.advance(30.0)
    return True


@pytest.mark.parametrize("frozen", [1, 3])
async def test_what_a_full_disk_does_not_take_is_not_asked_for_again(
    node: SharedNode, feed: RowFeed, manual_clock: ManualClock, frozen: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for n in range(frozen):
        await node.program.put(NAME, f"r{n}", b"{}")
        await node.frames.freeze("rows-medium")
    acknowledge, tries = node.frames.acknowledge, 0

    async def full(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise Transient("the disk is full")

    monkeypatch.setattr(node.frames, "acknowledge", full)
    hub = TakingHub()
    push = LanePush(feed, hub, manual_clock, random.Random(1), pace=Pace(), log=node.log)  # type: ignore[arg-type]  # it only pushes
    task = asyncio.create_task(push.run(LanePoint()))
    await eventually(lambda: passes(manual_clock) and tries >= 7, "the answer cannot be kept")
    assert hub.units == [1, 2][: min(frozen, 2)]
    assert "cannot push" in push.problem
    monkeypatch.setattr(node.frames, "acknowledge", acknowledge)
    await eventually(lambda: passes(manual_clock) and push.settled.n == frozen, "all is taken over")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert hub.units == [*range(1, frozen + 1)]
    assert {row.status for row in await node.program.list(NAME)} == {"synced"}


@pytest.mark.parametrize(
    ("theirs", "told"), [(b'{"x":1}', []), (b'{"x":2}', ["row «a»"])], ids=["alike", "otherwise"]
)
async def test_an_edit_that_says_what_the_hub_has_already_has_met_nothing(
    node: SharedNode, feed: RowFeed, theirs: bytes, told: list[str]
) -> None:
    heard: list[str] = []

    async def tell(_: str, words: str, __: object) -> None:
        heard.append(words.partition(" of ")[0])

    feed._tell = tell
    await node.program.put(NAME, "a", b'{"x":1}')
    outgoing = await feed.unit(LanePoint())
    assert outgoing is not None
    lost = msgspec.Raw(msgspec.json.encode([Judged(0, "lost", of_hub("a", 9, theirs))]))
    await feed.confirm(PushReply("ok", outgoing.through, 0, revs=[9], judged=lost))
    assert heard == told
    logged = "SELECT count(*) FROM sync_log WHERE operation = 'conflict'"
    assert node.rows.reader.execute(logged).fetchone()[0] == len(told)
