"""Update locks in a supervisor on a real store: orders, waiting, the agent's restart, failures of the disk."""

import asyncio
from pathlib import Path

import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.kit.errors import NotFound, Refused
from skerry.node.workloads.locks import LockOrder
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

LANDING = LockOrder(300.0, "landing")
NEW = wish("a", n=2, command="new")


async def running_and_locked(rig: Rig) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    status = await rig.supervisor.order_lock("a", LANDING)
    assert status.locked_until is not None


async def waits(rig: Rig) -> None:
    def is_told() -> bool:
        status = rig.last("a")
        return status is not None and "waits: locked by the workload" in status.message

    await eventually(is_told, "the status says that it waits")


async def test_a_change_waits_for_the_release(rig: Rig, runtime: FakeRuntime) -> None:
    await running_and_locked(rig)
    rig.wishes.want(NEW)
    await waits(rig)
    assert len(runtime.launched) == 1
    await rig.supervisor.order_lock("a", LockOrder(None))
    await eventually(lambda: len(runtime.launched) == 2, "the new one is started")
    await eventually(lambda: rig.rows()["a"].phase == "running", "it runs")
    with pytest.raises(Refused, match="lives no more"):
        await rig.supervisor.order_lock("a", LockOrder(5.0, instance=runtime.launched[0].instance))


async def test_a_lock_runs_out(rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock) -> None:
    await running_and_locked(rig)
    rig.wishes.want()
    await waits(rig)
    manual_clock.advance(301.0)
    await eventually(lambda: rig.reported.forgotten == ["a"], "a is forgotten")
    assert runtime.running == {}


async def test_a_lock_survives_the_agent_and_not_its_workload(
    rig: Rig, runtime: FakeRuntime
) -> None:
    await running_and_locked(rig)
    await rig.restart()
    rig.wishes.want(NEW)
    await waits(rig)
    runtime.end(runtime.instance_of("a"), code=1)
    await eventually(lambda: len(runtime.launched) == 2, "the new one is started")
    assert runtime.launched[1].command == ("new",)


async def test_renewing_does_not_outrun_an_update_that_waits(
    rig: Rig, runtime: FakeRuntime
) -> None:
    await running_and_locked(rig)
    rig.wishes.want(NEW)
    await waits(rig)
    orders = [
        asyncio.create_task(rig.supervisor.order_lock("a", order))
        for order in (LockOrder(None), LANDING)
    ]
    await eventually(lambda: len(runtime.launched) == 2, "the new one is started")
    await asyncio.wait(orders)
    assert orders[0].exception() is None
    row = rig.rows()["a"]
    assert row.assignment == NEW


async def test_a_lock_that_has_run_out_is_not_taken_anew_before_what_waits(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    await running_and_locked(rig)
    rig.wishes.want(NEW)
    await waits(rig)
    anew = asyncio.create_task(rig.supervisor.order_lock("a", LANDING))
    manual_clock.advance(301.0)
    await asyncio.wait([anew])
    await eventually(lambda: len(runtime.launched) == 2, "the new one is started")


async def test_who_is_not_there_cannot_lock(rig: Rig) -> None:
    with pytest.raises(NotFound, match="it is not on this node"):
        await rig.supervisor.order_lock("b", LANDING)


async def test_a_lock_is_told_when_it_is_written(tmp_path: Path, manual_clock: ManualClock) -> None:
    disk, runtime = FaultyDisk(), FakeRuntime()
    rig = Rig(tmp_path, runtime, manual_clock, disk)
    await rig.start()
    try:
        rig.wishes.want(wish("a"))
        await rig.until("a", "running")
        disk.fail_after(1)
        order = asyncio.create_task(rig.supervisor.order_lock("a", LANDING))
        await eventually(lambda: disk.labels["workload.settled.before-commit"] > 0, "it is tried")
        assert not order.done()

        def is_told() -> bool:
            manual_clock.advance(0.5)
            return order.done()

        await eventually(is_told, "it is tried again")
        assert (await order).locked_until is not None
        row = rig.rows()["a"]
        assert row.instance
        assert row.instance.lock
    finally:
        await rig.stop()
