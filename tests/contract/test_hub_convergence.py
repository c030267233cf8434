"""Any delivery converges: units are cut, doubled, reordered and repeated by chance, stores are put back.

The model is the node's history. However it travels, the hub ends with every record exactly once and
with the newest state, and it never acknowledges what it does not hold.
"""

import asyncio
import itertools
import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hub_rig import HubRig, batch, status

from skerry.core.lanes import extend
from skerry.wire.codec import encode
from skerry.wire.records import Batch
from skerry.wire.sync import NO_CHAIN, Hello, Lane, LanePoint, PushUnit, StateFrame
from skerry.wire.workload import Phase, WorkloadStatus

PHASES: tuple[Phase, ...] = ("pending", "starting", "running", "stopping", "failed")


class History:
    """One node's lane as its disk has it; `incarnation` changes when the store is put back."""

    def __init__(self, lane: Lane, frames: list[Batch | StateFrame]) -> None:
        self.node_id = f"node-{next(_nodes)}"
        self.lane = lane
        self.frames = frames
        self.incarnation = "00" * 16
        self.restarts = 0

    def points(self) -> list[LanePoint]:
        """The point before each frame, and the one after the last."""
        points = [LanePoint(0, NO_CHAIN)]
        for frame in self.frames:
            size = len(frame.records) if isinstance(frame, Batch) else 1
            last = points[-1]
            points.append(LanePoint(last.n + size, extend(last.chain, encode(frame))))
        return points

    def unit(self, start: int, end: int) -> PushUnit:
        """Frames start … end - 1 as a unit."""
        before = self.points()[start]
        return PushUnit(
            incarnation=self.incarnation,
            lane=self.lane,
            first=before.n + 1,
            previous=before.chain,
            boot_id="boot-1",
            frames=[msgspec.Raw(encode(frame)) for frame in self.frames[start:end]],
        )

    def put_back(self) -> None:
        """The store was replaced by a copy: the same history under a new incarnation."""
        self.restarts += 1
        self.incarnation = f"{self.restarts:032x}"


_nodes = itertools.count(1)
_SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=8)
_EDITS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(PHASES)), min_size=1, max_size=10
)
_SEEDS = st.integers(0, 2**32)
_many = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def deliver_badly(hub: HubRig, history: History, chance: random.Random) -> None:
    """Sends random cuts in random order, some twice, all at the same time; puts the store back now and then."""
    truth = history.points()
    for _ in range(chance.randint(1, 3)):
        units = []
        for _ in range(chance.randint(1, 12)):
            start = chance.randint(0, len(history.frames) - 1)
            units.append(history.unit(start, chance.randint(start + 1, len(history.frames))))
        for reply in await asyncio.gather(*(hub.push(history.node_id, unit) for unit in units)):
            assert reply.outcome in {"ok", "gap"}
            assert reply.point in truth
        if chance.random() < 0.5:
            history.put_back()


async def finish(hub: HubRig, history: History) -> None:
    """What an honest node does: asks where the hub is, and sends from there."""
    hello = Hello((1, 1), history.incarnation, "0.1", "boot-1")
    held = (await hub.greeter.hello(history.node_id, hello)).lanes[history.lane]
    start = history.points().index(held)
    if start < len(history.frames):
        reply = await hub.push(history.node_id, history.unit(start, len(history.frames)))
        assert (reply.outcome, reply.point) == ("ok", history.points()[-1])


@pytest.mark.guarantee("G1")
@_many
@given(sizes=_SIZES, seed=_SEEDS)
async def test_every_record_arrives_exactly_once(hub: HubRig, sizes: list[int], seed: int) -> None:
    frames: list[Batch | StateFrame] = []
    counter = 1
    for size in sizes:
        frames.append(batch(*range(counter, counter + size), counter=counter, at=counter * 10))
        counter += size
    history = History("keep", frames)
    await deliver_badly(hub, history, random.Random(seed))
    await finish(hub, history)
    rows = (await hub.query.records(node=history.node_id)).rows
    assert [row.value for row in rows] == list(range(1, counter))


@_many
@given(edits=_EDITS, seed=_SEEDS)
async def test_state_converges_however_it_was_delivered(
    hub: HubRig, edits: list[tuple[str, Phase]], seed: int
) -> None:
    frames: list[Batch | StateFrame] = [
        StateFrame([status(name, phase, hlc=hlc)]) for hlc, (name, phase) in enumerate(edits, 1)
    ]
    history = History("state", frames)
    await deliver_badly(hub, history, random.Random(seed))
    await finish(hub, history)
    reply = await hub.push(history.node_id, history.unit(0, len(frames)))
    held = {row.id: msgspec.json.decode(row.body, type=WorkloadStatus) for row in reply.rows}
    assert {name: each.phase for name, each in held.items()} == dict(edits)
