"""Every call to the hub and every write of the sync fails once, before or after it took effect: all is well in the end."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from tests.sync_rig import NodeRig, passing

from skerry.testing.fake_hub import FakeHub
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

A = "a" * 32
B = "b" * 32


@pytest.fixture(autouse=True)
async def time(manual_clock: ManualClock) -> AsyncIterator[None]:
    task = asyncio.create_task(passing(manual_clock, 36_000))
    yield
    task.cancel()
    await asyncio.wait([task])


async def accept(node: NodeRig, session: str, statuses: int) -> None:
    await node.publish(session, 1, 30, "keep")
    await node.publish(session, 31, 20, "event")
    await node.publish(session, 51, 10, "sample")
    for n in range(statuses):
        await node.report(f"workload-{n}", f"{session[0]}{n}")


ENOUGH = 60
"""Operations of a first contact, and more: on a slow disk time passes meanwhile, and what comes by the clock comes again."""


async def in_step(node: NodeRig, hub: FakeHub, expected: set[tuple[str, int]]) -> None:
    async def all_there() -> bool:
        held = {row.id: bytes(row.body) for row in hub.state.values() if row.entity == "status"}
        own = {row.id: bytes(row.body) for row in await node.store.rows("status")}
        wanted = {key for key in hub.state if key[0] == "assignment"}
        have = {("assignment", row.id) for row in await node.store.rows("assignment")}
        unsent = await node.store.unsent()
        return expected <= hub.records.keys() and own == held and wanted == have and not unsent

    await eventually(all_there, "node and hub are in step")


async def a_life_with_an_accident(directory: Path, hub: FakeHub, clock: ManualClock) -> None:
    """A first contact, then the node's store is put back and accepts other records before it meets the hub."""
    node = NodeRig(directory / "node", hub, clock)
    await node.start()
    await node.stop()
    node.copy_to(directory / "copy")
    await node.start()
    hub.write("assignment", "cam")
    await accept(node, A, 3)
    node.sync_on()
    await in_step(node, hub, ids(A))
    await node.stop()
    node.put_back(directory / "copy")
    await node.start()
    await accept(node, B, 3)
    node.sync_on()
    await in_step(node, hub, ids(A) | ids(B))
    await node.stop()


def ids(session: str) -> set[tuple[str, int]]:
    return {(session, counter) for counter in range(1, 61)}


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("applied", [False, True], ids=["lost on the way", "answer lost"])
async def test_any_call_may_fail(tmp_path: Path, manual_clock: ManualClock, applied: bool) -> None:
    for n in count(1):
        hub = FakeHub(fail_at=n, applied=applied)
        await a_life_with_an_accident(tmp_path / str(n), hub, manual_clock)
        assert hub.records.keys() == ids(A) | ids(B)
        if hub.calls < n:
            break
    assert n > 12


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(180)
async def test_any_write_of_the_sync_may_fail(tmp_path: Path, manual_clock: ManualClock) -> None:
    for n in count(1):
        hub, disk = FakeHub(), FaultyDisk()
        hub.write("assignment", "cam")
        node = NodeRig(tmp_path / str(n), hub, manual_clock, disk=disk)
        await node.start()
        await accept(node, A, 3)
        before = disk.operations
        disk.fail_after(n)
        node.sync_on()
        await in_step(node, hub, ids(A))
        operations = disk.operations - before
        disk.heal()
        await node.stop()
        if operations < n or n == ENOUGH:
            break
    assert n > 6
