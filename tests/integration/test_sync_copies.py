"""Hubs and nodes that were put back, and clones: what a node's whole sync makes of it, with a hub in memory."""

from pathlib import Path

import pytest
from tests.sync_rig import A, B, NodeRig, counters, has, status_of

from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually


@pytest.mark.guarantee("G1")
async def test_a_hub_that_was_put_back_gets_again_what_it_lost(
    node: NodeRig, hub: FakeHub, time: None
) -> None:
    node.sync_on()
    await node.publish(A, 1, 100)
    await node.report("cam", 1)
    await has(hub, A, 100)
    await eventually(lambda: ("status", "cam") in hub.state, "the status is at the hub")
    early = hub.snapshot()
    await node.publish(A, 101, 100)
    await node.report("cam", 2)
    await node.report("fan", 1)
    await has(hub, A, 200)
    await eventually(lambda: ("status", "fan") in hub.state, "the second status is at the hub")
    incarnation = node.store.incarnation
    hub.restore(early)
    await has(hub, A, 200)
    await eventually(
        lambda: ("status", "fan") in hub.state and bytes(hub.state["status", "cam"].body) == b"2",
        "the statuses are as they were",
    )
    assert node.store.incarnation == incarnation


@pytest.mark.guarantee("G1")
async def test_a_node_that_was_put_back_goes_on_as_another_incarnation(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path
) -> None:
    node.sync_on()
    for start in range(1, 101, 10):
        await node.publish(A, start, 10)
    await has(hub, A, 100)
    await node.stop()
    node.copy_to(tmp_path / "copy")
    await node.start()
    node.sync_on()
    for start in range(101, 201, 10):
        await node.publish(A, start, 10)
    await has(hub, A, 200)
    await node.stop()

    node.put_back(tmp_path / "copy")
    await node.start()
    incarnation = node.store.incarnation
    hub.units.clear()
    await node.publish(B, 1, 150)  # before the first connect: the numbers go past the hub's
    node.sync_on()
    await has(hub, B, 150)
    assert counters(hub, A) == list(range(1, 201))
    assert node.store.incarnation != incarnation
    sent = [unit for unit in hub.units if unit.lane == "keep" and unit.frames]
    assert (
        min(unit.first for unit in sent) == 101
    )  # what the hub had acknowledged is not sent again


@pytest.mark.guarantee("G1")
@pytest.mark.parametrize("calls", range(1, 9))
async def test_a_hub_that_goes_back_while_the_node_begins_again_loses_nothing(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path, calls: int
) -> None:
    node.sync_on()
    await node.publish(A, 1, 50)
    await has(hub, A, 50)
    early = hub.snapshot()
    await node.publish(A, 51, 50)
    await has(hub, A, 100)
    await node.stop()
    node.copy_to(tmp_path / "copy")
    await node.start()
    node.sync_on()
    await node.publish(A, 101, 50)
    await has(hub, A, 150)
    await node.stop()
    node.put_back(tmp_path / "copy")
    await node.start()
    hub.surprises[hub.calls + calls] = lambda: hub.restore(early)
    await node.publish(B, 1, 80)
    node.sync_on()
    await has(hub, B, 80)
    await eventually(
        lambda: set(range(1, 101)) <= set(counters(hub, A)), "what the node still holds is there"
    )


@pytest.mark.guarantee("G5")
async def test_a_node_that_was_put_back_insists_on_how_its_workloads_are_now(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path
) -> None:
    node.sync_on()
    await node.report("cam", "starting")
    await eventually(lambda: ("status", "cam") in hub.state, "the status is at the hub")
    await node.stop()
    node.copy_to(tmp_path / "copy")
    await node.start()
    node.sync_on()
    await node.report("cam", "failed in a future that is no more")
    await eventually(lambda: b"future" in bytes(hub.state["status", "cam"].body), "the later one")
    await node.stop()
    node.put_back(tmp_path / "copy")
    await node.start()
    node.sync_on()
    await eventually(
        lambda: bytes(hub.state["status", "cam"].body) == b'"starting"', "the hub shows ours again"
    )
    assert [bytes(row.body) for row in await node.store.rows("status")] == [b'"starting"']


@pytest.mark.guarantee("G1")
async def test_two_clones_both_keep_everything(
    node: NodeRig, hub: FakeHub, time: None, tmp_path: Path, manual_clock: ManualClock
) -> None:
    node.sync_on()
    await node.publish(A, 1, 100)
    await has(hub, A, 100)
    await node.stop()
    node.copy_to(tmp_path / "clone")
    clone = NodeRig(tmp_path / "clone", hub, manual_clock)
    await node.start()
    await clone.start()
    node.sync_on()
    clone.sync_on()
    await status_of(node, "online")
    await status_of(clone, "online")
    await node.publish(A, 101, 50)
    await has(hub, A, 150)
    await clone.publish(B, 1, 20)  # the hub takes them for a repeat of what the other one sent
    await has(hub, B, 20)
    await node.publish(A, 151, 50)
    await clone.publish(B, 21, 80)
    await has(hub, B, 100)
    await has(hub, A, 200)
    assert node.store.incarnation != clone.store.incarnation
    await clone.stop()
