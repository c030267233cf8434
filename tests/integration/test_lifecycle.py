"""Workloads from start to end: supervisor, real SQLite, a runtime in memory, a clock in the test's hand."""

import asyncio
from pathlib import Path

import pytest
from tests.workload_cases import wish
from tests.workload_rig import Rig

from skerry.node.ports import Excess, Launch, NeedGone, ProcessIdentity, ProcessLaunch
from skerry.node.store.instances import KEPT_INSTANCES
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually
from skerry.wire.workload import Exit, OnDisconnect, Restart, Stop, Update


def launched(runtime: FakeRuntime) -> list[str]:
    return [launch.workload for launch in runtime.launched]


async def living(runtime: FakeRuntime, workload: str) -> str:
    """The instance of a workload, as soon as one lives: an exit may be handled before its successor does."""

    def lives() -> bool:
        return any(one.workload == workload for one in runtime.running.values())

    await eventually(lives, f"an instance of {workload} lives")
    return runtime.instance_of(workload)


async def test_it_starts_what_is_wanted_and_says_so(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a"), wish("b"))
    status = await rig.until("a", "running")
    await rig.until("b", "running")
    assert sorted(launched(runtime)) == ["a", "b"]
    identity = runtime.running[runtime.instance_of("a")].identity
    assert (status.pid, status.ready, status.restarts) == (identity.pid, True, 0)
    row = rig.rows()["a"]
    assert row.instance
    assert row.instance.identity
    assert row.instance.identity.pid == identity.pid


async def test_what_is_removed_is_stopped_and_forgotten(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    instance = runtime.instance_of("a")
    rig.wishes.want()
    await eventually(lambda: rig.reported.forgotten == ["a"], "a is forgotten")
    assert runtime.signals == [(instance, "SIGTERM")]
    assert (rig.rows(), runtime.running) == ({}, {})
    await eventually(lambda: not runtime.waiting, "the exit is acknowledged")


async def test_what_was_removed_may_come_back(rig: Rig, runtime: FakeRuntime) -> None:
    for times in (1, 2, 3):
        rig.wishes.want(wish("a", n=times))
        await rig.until("a", "running")
        rig.wishes.want()
        await eventually(lambda n=times: rig.reported.forgotten == ["a"] * n, "a is gone")  # type: ignore[misc]
    assert launched(runtime) == ["a"] * 3


async def test_a_changed_spec_replaces_the_process(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a", command="old"))
    await rig.until("a", "running")
    rig.wishes.want(wish("a", n=2, command="new"))
    await eventually(lambda: len(runtime.launched) == 2, "the new one is started")
    assert [launch.command for launch in runtime.launched] == [("old",), ("new",)]
    assert len(runtime.running) == 1
    await eventually(lambda: rig.rows()["a"].phase == "running", "it runs")
    status = await rig.until("a", "running")
    assert (status.restarts, rig.rows()["a"].history.failures) == (0, ())


async def test_a_restart_on_demand_happens_once(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    rig.wishes.want(wish("a", restarts=1))
    await eventually(lambda: len(runtime.launched) == 2, "it is restarted")
    await rig.restart()
    rig.wishes.want(wish("a", n=2, restarts=1))
    await eventually(lambda: rig.rows()["a"].assignment.generation.n == 2, "the new number is held")
    assert len(runtime.launched) == 2


async def test_dependencies_start_in_order(rig: Rig, runtime: FakeRuntime) -> None:
    rig.wishes.want(
        wish("app", depends_on={"db": "ready", "warm-up": "succeeded"}),
        wish("db", depends_on={"warm-up": "succeeded"}),
        wish("warm-up", restart=Restart(policy="on-failure")),
    )
    await rig.until("warm-up", "running")
    await eventually(lambda: len(rig.reported.last) == 3, "all three are reported")
    assert launched(runtime) == ["warm-up"]
    assert rig.reported.last["app"].message == "waits for «db» to be ready"
    runtime.end(runtime.instance_of("warm-up"), code=0)
    await rig.until("app", "running")
    assert launched(runtime) == ["warm-up", "db", "app"]


async def test_a_condition_also_holds_up_a_restart(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    slow = Restart(delay=100, max_delay=100)
    rig.wishes.want(wish("app", depends_on={"db": "running"}), wish("db", restart=slow))
    await rig.until("app", "running")
    for _ in range(2):
        runtime.end(await living(runtime, "db"), code=1)
        await eventually(lambda: not runtime.waiting, "the exit is handled")
    await rig.until("db", "backoff")
    runtime.end(runtime.instance_of("app"), code=1)
    await rig.until("app", "pending")
    manual_clock.advance(101)
    await rig.until("app", "running")
    assert launched(runtime)[-2:] == ["db", "app"]


async def test_the_first_restart_is_at_once_and_the_next_ones_wait(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    runtime.end(runtime.instance_of("a"), code=1)
    await eventually(lambda: len(runtime.launched) == 2, "the first restart needs no time")
    await eventually(lambda: bool(runtime.running), "it runs")
    runtime.end(runtime.instance_of("a"), signal_number=9)
    status = await rig.until("a", "backoff")
    assert status.message == "ended: signal 9"
    assert status.exit
    assert status.next_start_at
    wait = (status.next_start_at - manual_clock.wall_ns()) / 1e9
    assert 0.25 <= wait <= 0.5
    manual_clock.advance(0.2)
    await asyncio.sleep(0)
    assert len(runtime.launched) == 2
    manual_clock.advance(0.3)
    await eventually(lambda: len(runtime.launched) == 3, "it is started again")


async def test_a_wall_clock_that_jumps_delays_nothing(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    rig.wishes.want(wish("a"))
    await rig.until("a", "running")
    for _ in range(2):
        runtime.end(await living(runtime, "a"), code=1)
        await eventually(lambda: not runtime.waiting, "the exit is handled")
    await rig.until("a", "backoff")
    manual_clock.jump_wall(-365 * 86_400)
    await rig.restart()
    manual_clock.advance(0.5)
    await eventually(lambda: len(runtime.launched) == 3, "half a second is half a second")


@pytest.mark.guarantee("G3")
async def test_the_breaker_trips_and_half_opens(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    runtime.scripts["a"].extend([Exit(code=1)] * 4)
    rig.wishes.want(wish("a", restart=Restart(attempts=3, window=600)))
    await eventually(lambda: len(runtime.launched) == 2, "the first restart is at once")
    await rig.until("a", "backoff")
    manual_clock.advance(1)
    status = await rig.until("a", "tripped")
    assert status.message == "ended: code 1; it keeps failing, so there is one try each 10m"
    manual_clock.advance(599)
    await rig.restart()
    await rig.until("a", "tripped")
    assert len(runtime.launched) == 3
    await eventually(lambda: not runtime.waiting, "the failures so far are written down")
    known = runtime.names["acknowledge"]
    manual_clock.advance(1)
    await eventually(lambda: len(runtime.launched) == 4, "there is one try")
    await eventually(lambda: runtime.names["acknowledge"] > known, "which fails")
    manual_clock.advance(600)
    await rig.until("a", "running")
    await eventually(lambda: rig.reported.last["a"].message == "on trial for 1m", "it is on trial")
    manual_clock.advance(60)
    await eventually(lambda: rig.reported.last["a"].message == "", "the trial is over")
    runtime.end(runtime.instance_of("a"), code=1)
    await eventually(lambda: len(runtime.launched) == 6, "a first failure is restarted at once")


async def test_a_command_that_does_not_exist_is_explained_and_tried_again(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    runtime.missing.add("prog")
    rig.wishes.want(wish("a"))
    await eventually(lambda: runtime.names["start"] == 2, "the first restart is at once")
    await eventually(lambda: rig.rows()["a"].instance is None, "which has failed, too")
    status = await rig.until("a", "backoff")
    assert "command «prog» not found" in status.message
    assert status.exit is None
    runtime.missing.clear()
    manual_clock.advance(1)
    await rig.until("a", "running")


async def test_stop_means_signal_then_grace_then_sigkill(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    runtime.stubborn.add("a")
    rig.wishes.want(wish("a", stop=Stop(signal="SIGINT", grace=30)))
    await rig.until("a", "running")
    instance = runtime.instance_of("a")
    rig.wishes.want()
    await rig.until("a", "stopping")
    manual_clock.advance(29)
    await asyncio.sleep(0.01)
    assert runtime.signals == [(instance, "SIGINT")]
    manual_clock.advance(1)
    await eventually(lambda: rig.reported.forgotten == ["a"], "a is gone")
    assert runtime.signals == [(instance, "SIGINT"), (instance, "SIGKILL")]


async def test_a_grace_period_runs_on_while_the_agent_restarts(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    runtime.stubborn.add("a")
    rig.wishes.want(wish("a", stop=Stop(grace=30)))
    await rig.until("a", "running")
    instance = runtime.instance_of("a")
    rig.wishes.want()
    await rig.until("a", "stopping")
    await rig.stop()
    manual_clock.advance(20)
    await rig.start()
    await eventually(lambda: len(runtime.signals) == 2, "the signal is sent again")
    assert runtime.signals == [(instance, "SIGTERM")] * 2
    manual_clock.advance(10)
    await eventually(lambda: rig.reported.forgotten == ["a"], "killed after 30 s in all")


class StuckRuntime(FakeRuntime):
    """Never answers about the workload «stuck»."""

    async def start(self, launch: Launch) -> ProcessIdentity:
        if launch.workload == "stuck":
            await asyncio.Future()
        return await super().start(launch)


@pytest.mark.guarantee("G4")
async def test_a_stuck_workload_delays_no_other(tmp_path: Path, manual_clock: ManualClock) -> None:
    runtime = StuckRuntime(clock=manual_clock)
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    rig.wishes.want(wish("stuck"), *(wish(f"w{n}") for n in range(20)))
    for n in range(20):
        await rig.until(f"w{n}", "running")
    runtime.end(runtime.instance_of("w3"), code=1)
    await eventually(lambda: launched(runtime).count("w3") == 2, "others are restarted")
    assert rig.reported.last["stuck"].phase == "starting"
    await rig.stop()


async def test_on_disconnect_stops_and_the_hub_brings_it_back(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    rig.wishes.want(wish("a", on_disconnect=OnDisconnect(stop_after=60)), wish("b"))
    await rig.until("a", "running")
    await rig.until("b", "running")
    cut = manual_clock.monotonic_ns()
    rig.wishes.offline = lambda: (manual_clock.monotonic_ns() - cut) / 1e9
    rig.wishes.changed.ring()
    await eventually(lambda: manual_clock.sleepers > 0, "the time without hub is counted")
    manual_clock.advance(61)
    status = await rig.until("a", "stopped")
    assert "away for more than 1m" in status.message
    assert rig.phases()["b"] == "running"
    rig.wishes.offline = lambda: None
    rig.wishes.changed.ring()
    await rig.until("a", "running")


async def test_ended_instances_stay_bounded(
    rig: Rig, runtime: FakeRuntime, manual_clock: ManualClock
) -> None:
    runtime.scripts["a"].extend([Exit(code=1)] * 30)
    rig.wishes.want(wish("a", restart=Restart(delay=0.01, max_delay=0.01, attempts=1000)))

    def all_ended() -> bool:
        manual_clock.advance(0.01)
        return len(runtime.launched) == 31 and rig.phases() == {"a": "running"}

    await eventually(all_ended, "the thirty-first start lives")
    (kept,) = rig._reader.execute("SELECT count(*) FROM instance").fetchone()
    assert kept == KEPT_INSTANCES + 1


@pytest.mark.parametrize("reason", ["memory of the node", "storage"])
async def test_a_successor_over_a_limit_is_a_failed_attempt(
    rig: Rig, runtime: FakeRuntime, reason: str
) -> None:
    update = Update(strategy="overlap", min_healthy=60)
    rig.wishes.want(wish("a", update=update))
    await rig.until("a", "running")
    first = runtime.instance_of("a")
    rig.wishes.want(wish("a", 2, command="new", update=update))
    at_once = reason != "storage"
    ended = [first]

    def started() -> bool:
        """Whether the limits see another successor."""
        return rig.supervisor.living()[-1].instance not in ended

    for _ in range(2):  # the first failure is followed by another attempt at once
        await eventually(started, "the limits see both")
        ended.append(rig.supervisor.living()[1].instance)
        excess = Excess("a", ended[-1], reason, "has too much", at_once=at_once)
        rig.supervisor.end(excess)
    words = f"failed: ended: signal {9 if at_once else 15} ({reason})"
    await eventually(lambda: words in rig.rows()["a"].message, words)
    signal = "SIGKILL" if at_once else "SIGTERM"
    assert runtime.signals == [(ended[1], signal), (ended[2], signal)]
    assert runtime.instance_of("a") == first


class Losing(FakeRuntime):
    """Commands in `gone` have lost something that they need, for good."""

    gone: frozenset[str] = frozenset()

    async def start(self, launch: Launch) -> ProcessIdentity:
        if isinstance(launch, ProcessLaunch) and launch.command[0] in self.gone:
            raise NeedGone(f"cannot start workload «{launch.workload}»: its image is gone")
        return await super().start(launch)


async def test_an_earlier_version_whose_image_is_gone_gives_way(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    runtime = Losing(clock=manual_clock)
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    update = Update(strategy="overlap")
    rig.wishes.want(wish("a", command="old", update=update))
    await rig.until("a", "running")
    runtime.missing.add("new")
    rig.wishes.want(wish("a", 2, command="new", update=update))
    await eventually(lambda: "update to generation 2 failed" in rig.rows()["a"].message, "it fails")
    runtime.missing.clear()
    runtime.gone = frozenset({"old"})
    runtime.end(runtime.instance_of("a"), code=1)
    await eventually(lambda: runtime.launched[-1].command == ("new",), "the new one is started")
    await rig.stop()
