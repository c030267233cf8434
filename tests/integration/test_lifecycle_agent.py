"""The agent ends, dies or is told to stop; the machine restarts: what that means for workloads."""

import asyncio
from pathlib import Path

import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.kit.errors import InvalidInput, Transient
from skerry.node.ports import Launch, ProcessIdentity
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.workload import Assignment, Exit, Restart


def launched(runtime: FakeRuntime) -> list[str]:
    return [launch.workload for launch in runtime.launched]


@pytest.mark.guarantee("G8")
async def test_a_new_agent_takes_over_what_runs(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    rig.wishes.want(wish("a"), wish("b"), wish("c"))
    for name in "abc":
        await rig.until(name, "running")
    before = set(runtime.running)
    await rig.stop()
    runtime.end(runtime.instance_of("b"), code=3)
    manual_clock.advance(100)
    await rig.start()
    await rig.until("a", "running")
    await eventually(lambda: launched(runtime).count("b") == 2, "b's exit was kept for us")
    await eventually(lambda: str(rig.reported.last["b"].exit) == "code 3", "and is shown")
    assert len(before & set(runtime.running)) == 2
    assert sorted(launched(runtime)) == ["a", "b", "b", "c"]


@pytest.mark.guarantee("G8")
async def test_survivors_of_a_dead_keeper_are_adopted_and_the_rest_is_started(
    rig: Rig, runtime: FakeRuntime
) -> None:
    rig.wishes.want(wish("a"), wish("b"))
    await rig.until("a", "running")
    await rig.until("b", "running")
    survivor, lost = runtime.instance_of("a"), runtime.instance_of("b")
    await rig.stop()
    runtime.forget(survivor)
    runtime.end(lost, code=1)
    await runtime.acknowledge(lost)
    await rig.start()
    await eventually(lambda: launched(runtime).count("b") == 2, "b is started again")
    await eventually(lambda: str(rig.reported.last["b"].exit) == "unknown", "and that is shown")
    assert survivor in runtime.running
    runtime.end(survivor, code=1)
    await eventually(lambda: launched(runtime).count("a") == 2, "a is still supervised")


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("error", [Transient("its view"), OSError(28, "full"), InvalidInput("?")])
async def test_a_workload_whose_launch_cannot_be_made_keeps_no_other_from_being_taken_over(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock, error: Exception
) -> None:
    rig.wishes.want(wish("a"), wish("b"), wish("c"))
    for name in "abc":
        await rig.until(name, "running")
    survivor, lost = runtime.instance_of("a"), runtime.instance_of("c")
    await rig.stop()
    for name in "abc":
        runtime.forget(runtime.instance_of(name))
    runtime.end(lost, code=1)
    await runtime.acknowledge(lost)
    broken = {"a", "c"}

    def launch_for(assignment: Assignment, instance: str) -> Launch:
        if assignment.workload in broken:
            raise error
        return rig.plain_launch(assignment, instance)

    rig.launch_for = launch_for
    await rig.start()
    await rig.until("b", "running")
    runtime.end(runtime.instance_of("b"), code=1)
    await eventually(lambda: launched(runtime).count("b") == 2, "b is supervised")
    assert sorted(launched(runtime)) == ["a", "b", "b", "c"]
    assert rig.rows()["a"].instance is not None
    broken.clear()

    def is_known() -> bool:
        manual_clock.advance(1)
        return launched(runtime).count("c") == 2

    await eventually(is_known, "c is known to be gone")
    runtime.end(survivor, code=1)
    await eventually(lambda: launched(runtime).count("a") == 2, "a is supervised, too")


async def test_what_the_store_does_not_know_is_stopped(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    stray = runtime.instance_of("a")
    await rig.stop()
    (rig.directory / "node.db").unlink()
    await rig.start()
    await rig.until("a", "running")
    assert runtime.signals == [(stray, "SIGTERM")]
    assert runtime.instance_of("a") != stray


async def test_an_exit_that_concerns_nobody_is_acknowledged(rig: Rig, runtime: FakeRuntime) -> None:
    """Its end was committed before, but the agent died before it could acknowledge."""
    while_away, while_here = (rig.plain_launch(wish("x"), name) for name in ("i1", "i2"))
    await runtime.start(while_here)
    await rig.stop()
    await runtime.start(while_away)
    runtime.end("i1")
    runtime.end("i2")
    await rig.start()
    await eventually(lambda: not runtime.waiting, "both are acknowledged")
    await runtime.start(while_here)
    runtime.end("i2")
    await eventually(lambda: not runtime.waiting, "also while the agent is there")
    assert rig.rows() == {}


@pytest.mark.guarantee("G2")
async def test_a_reboot_without_hub_starts_every_workload(
    tmp_path: Path, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    job = wish("job", restart=Restart(policy="never"))
    rig.wishes.want(*(wish(f"w{n}") for n in range(8)), job)
    for name in rig.wishes.wanted:
        await rig.until(name, "running")
    runtime.end(runtime.instance_of("job"), code=0)
    await rig.until("job", "succeeded")
    runtime.scripts["w1"].extend([Exit(code=1)] * 2)
    runtime.end(runtime.instance_of("w1"), code=1)
    await rig.until("w1", "backoff")
    await rig.stop()

    runtime.reboot()
    runtime.scripts.clear()
    runtime.launched.clear()
    rig.clock = ManualClock(boot_id="boot-2")
    rig.wishes.offline = lambda: 1e6
    await rig.start()
    for n in range(8):
        await rig.until(f"w{n}", "running")
    assert sorted(launched(runtime)) == [f"w{n}" for n in range(8)]
    assert rig.phases()["job"] == "succeeded"
    assert str(rig.rows()["w0"].exit) == "unknown"
    await rig.stop()


async def test_node_stop_ends_all_and_the_next_agent_starts_them_again(
    rig: Rig, runtime: FakeRuntime
) -> None:
    rig.wishes.want(wish("a"), wish("b"))
    await rig.until("a", "running")
    await rig.until("b", "running")
    rig.wishes.stopping = True
    rig.wishes.changed.ring()
    await rig.supervisor.all_ended()
    assert (runtime.running, runtime.waiting) == ({}, {})
    await rig.until("a", "stopped")
    rig.wishes.stopping = False
    await rig.restart()
    await rig.until("a", "running")
    await rig.until("b", "running")


class SlowRuntime(FakeRuntime):
    """Starts when the test says so."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def start(self, launch: Launch) -> ProcessIdentity:
        self.asked.set()
        await self.go.wait()
        return await super().start(launch)


@pytest.mark.guarantee("G8")
async def test_what_was_just_being_started_is_started_once_though_its_launch_could_not_be_made(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    runtime = SlowRuntime(manual_clock)
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    rig.wishes.want(wish("a"))
    await runtime.asked.wait()
    begun = rig.rows()["a"].instance
    assert begun is not None
    assert begun.identity is None
    await rig.stop()
    runtime.asked.clear()
    tries = 0

    def launch_for(assignment: Assignment, instance: str) -> Launch:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Transient("its view")
        return rig.plain_launch(assignment, instance)

    rig.launch_for = launch_for
    await rig.start()

    def is_asked() -> bool:
        manual_clock.advance(1)
        return runtime.asked.is_set()

    await eventually(is_asked, "its unit starts it")
    for _ in range(10):  # whoever else would ask has done so
        is_asked()
        await asyncio.sleep(0)
    runtime.go.set()
    await rig.until("a", "running")
    rig.wishes.want(wish("a"), wish("b"))
    await rig.until("b", "running")
    assert launched(runtime) == ["a", "b"]
    assert runtime.instance_of("a") == begun.id
    found = rig.rows()["a"].instance
    assert found is not None
    assert found.identity is not None
    await rig.stop()


async def test_node_stop_waits_for_a_start_that_is_under_way(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    runtime = SlowRuntime(manual_clock)
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    rig.wishes.want(wish("a"))
    await runtime.asked.wait()
    rig.wishes.stopping = True
    rig.wishes.changed.ring()
    ended = asyncio.create_task(rig.supervisor.all_ended())
    await asyncio.sleep(0.02)
    assert not ended.done()
    runtime.go.set()
    await ended
    assert (len(runtime.launched), runtime.running) == (1, {})
    await rig.stop()


async def test_node_stop_waits_until_it_is_known_what_runs(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    await rig.stop()
    rig.wishes.stopping = True
    await rig.start()
    await rig.supervisor.all_ended()
    assert runtime.running == {}


class DownRuntime(FakeRuntime):
    """Cannot be reached while `down`."""

    down = False

    async def start(self, launch: Launch) -> ProcessIdentity:
        if self.down:
            raise Transient("cannot reach the keeper: it is being started")
        return await super().start(launch)


async def test_a_runtime_that_is_away_is_shown_and_no_failure_of_the_workload(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    runtime = DownRuntime(clock=manual_clock)
    runtime.down = True
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    rig.wishes.want(wish("a"))
    await rig.until("a", "starting")
    await eventually(
        lambda: "cannot reach the keeper" in rig.reported.last["a"].message, "it is shown"
    )
    runtime.down = False

    def is_tried() -> bool:
        manual_clock.advance(1)
        return len(runtime.launched) == 1

    await eventually(is_tried, "it is asked again")
    status = await rig.until("a", "running")
    assert (status.message, rig.rows()["a"].history.failures) == ("", ())
    assert len(runtime.launched) == 1
    await rig.stop()


async def test_what_was_asked_for_in_vain_can_be_removed(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    """The runtime never said whether it made the instance: signals go out, and then it is written off."""
    runtime = DownRuntime(clock=manual_clock)
    runtime.down = True
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    rig.wishes.want(wish("a"))
    await rig.until("a", "starting")
    rig.wishes.want()

    def is_gone() -> bool:
        manual_clock.advance(1)
        return rig.reported.forgotten == ["a"]

    await eventually(is_gone, "a is forgotten")
    assert rig.rows() == {}
    await rig.stop()
