"""A node takes over a set that comes in several answers: nothing goes before its end, and cuts in between heal."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig

from skerry.node.sync.pace import Pace
from skerry.node.sync.pull import WholeSet
from skerry.testing.fake_hub import FakeHub, HubContents
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.sync import Pull, PullReply, StateRow

MANY = 1200
"""Rows: three answers."""


async def assigned(node: NodeRig) -> set[str]:
    return {row.id for row in await node.store.rows("assignment")}


class AskedHub(FakeHub):
    """Notes when it was asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._clock = clock

    async def pull(self, pull: Pull) -> PullReply:
        self.asked.append(self._clock.monotonic_ns() // 10**9)
        return await super().pull(pull)


async def test_without_news_the_hub_is_asked_by_the_interval(
    tmp_path: Path, manual_clock: ManualClock, time: None
) -> None:
    hub = AskedHub(manual_clock)
    node = NodeRig(tmp_path / "node", hub, manual_clock, pace=Pace(pull_every=30.0))
    await node.start()
    node.sync_on()
    await eventually(lambda: len(hub.asked) >= 5, "asked five times")
    gaps = [later - earlier for earlier, later in pairwise(hub.asked[1:])]
    assert all(gap >= 26 for gap in gaps), gaps
    await node.stop()


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("fail_after", [0, 2, 3, 4, 5])
async def test_the_whole_set_in_pieces(
    tmp_path: Path, manual_clock: ManualClock, time: None, fail_after: int
) -> None:
    hub = FakeHub()
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    wanted = {f"w{n}" for n in range(MANY)}
    for name in sorted(wanted):
        hub.write("assignment", name)
    node.sync_on()
    await eventually(lambda: holds(node, wanted), "the first set is here")
    await node.sync_off()
    hub.restore(HubContents())  # another history: the node's cursor means nothing there
    kept = wanted - {"w0", "w700"}
    for name in sorted(kept):
        hub.write("assignment", name)
    if fail_after:
        hub.fail_at = hub.calls + fail_after
    watching = asyncio.create_task(least(node, kept))
    node.sync_on()
    await eventually(lambda: holds(node, kept), "the second set is here")
    assert not watching.done(), watching.exception()
    watching.cancel()
    await asyncio.wait([watching])
    await node.stop()


async def holds(node: NodeRig, names: set[str]) -> bool:
    return await assigned(node) == names


async def least(node: NodeRig, kept: set[str]) -> None:
    """What the hub still wants is here at every change."""
    seen = node.store.assignments_changed.count
    while True:
        assert kept <= await assigned(node)
        seen = await node.store.assignments_changed.after(seen)


async def test_an_agent_that_ends_in_the_middle_gets_rid_of_the_rest_later(
    tmp_path: Path, manual_clock: ManualClock, time: None
) -> None:
    hub = FakeHub()
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    await node.store.apply_pull([row("gone")], "")
    for n in range(MANY):
        hub.write("assignment", f"w{n}")
    first = await hub.pull(Pull(None, ""))
    await node.store.apply_pull(first.rows, first.cursor)
    node.sync_on()
    await eventually(lambda: holds(node, {f"w{n}" for n in range(MANY)}), "the set is right")
    await node.stop()


def row(name: str, *, deleted: bool = False) -> StateRow:
    return StateRow("assignment", name, 1, 1, "hub", deleted)


def part(*names: str, full: bool = False, more: bool = False, gone: str = "") -> PullReply:
    rows = [row(name) for name in names] + ([row(gone, deleted=True)] if gone else [])
    return PullReply(rows, "c", more=more, full=full, hub_time=0)


def test_a_set_is_whole_at_its_last_part_only() -> None:
    assert WholeSet().gather(part("a")) is None
    whole = WholeSet()
    assert whole.gather(part("a", "b", full=True, more=True)) is None
    assert whole.gather(part("c", "d", more=True)) is None
    assert whole.gather(part("c", "d", more=True)) is None
    assert whole.gather(part("e", gone="a")) == {("assignment", each) for each in "bcde"}
    assert WholeSet().gather(part(full=True)) == set()


def test_a_set_that_begins_again_forgets_its_first_beginning() -> None:
    whole = WholeSet()
    whole.gather(part("a", full=True, more=True))
    assert whole.gather(part("b", full=True)) == {("assignment", "b")}


@pytest.mark.guarantee("G5")
async def test_what_another_agent_has_stated_for_this_node_is_put_right(
    tmp_path: Path, manual_clock: ManualClock, time: None
) -> None:
    hub = FakeHub()
    node = NodeRig(tmp_path / "node", hub, manual_clock, pace=Pace(pull_every=60.0))
    await node.start()
    node.sync_on()
    await node.report("cam", {"phase": "running"})
    await eventually(lambda: stated(hub, "cam") == b'{"phase":"running"}', "the hub knows")
    hub.write("status", "cam", b'{"phase":"stopped"}')  # a copy of this node's directory says so
    await eventually(
        lambda: stated(hub, "cam") == b'{"phase":"running"}', "the hub has our word again"
    )
    await eventually(lambda: has_all(node), "and the node knows it")
    calls = hub.calls
    await eventually(lambda: hub.calls > calls, "pulls go on")
    assert await node.store.unsent() == 0
    await node.stop()


async def test_the_hub_is_asked_again_while_there_is_another_agent(
    tmp_path: Path, manual_clock: ManualClock, time: None
) -> None:
    hub = FakeHub()
    hub.double = "elsewhere"
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    node.sync_on()
    await eventually(lambda: len(hub.hellos) >= 3, "a hello a minute")
    assert (await node.sync.status()).double == "elsewhere"
    hub.double = ""
    await eventually(lambda: is_alone(node), "it is alone again")
    await node.stop()


async def has_all(node: NodeRig) -> bool:
    return await node.store.unsent() == 0


async def is_alone(node: NodeRig) -> bool:
    return not (await node.sync.status()).double


def stated(hub: FakeHub, workload: str) -> bytes:
    found = hub.state.get(("status", workload))
    return bytes(found.body) if found else b""
