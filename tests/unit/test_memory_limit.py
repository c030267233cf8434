"""What a reading of the node's memory means, and whose processes are whose."""

import os
import signal

import pytest
from msgspec.structs import replace
from tests.workload_cases import BOOT, later, live, wish

from skerry.keeper.marks import mark_of
from skerry.node.limits.memory import REASON, Reading, by_workload, chosen, is_high
from skerry.node.limits.processes import Process, ProcMeter, lessened, owners, without_brief
from skerry.node.ports import Excess, Living, ProcessIdentity
from skerry.node.workloads import overlap, transitions
from skerry.node.workloads.plan import Facts, step_for
from skerry.node.workloads.steps import Beside, EndExcess, KillWorkload, StopWorkload, Wait
from skerry.node.workloads.transitions import Moment
from skerry.testing.manual_clock import ManualClock
from skerry.wire.local import MemoryUsage
from skerry.wire.workload import Exit, Restart, Update

MB = 1_000_000
LIMIT = 512 * MB


def living(name: str, reserved: int = 64, pid: int = 0, ending: str = "") -> Living:
    identity = ProcessIdentity(BOOT, pid, pid * 10) if pid else None
    return Living(name, f"i-{name}", identity, reserved * MB, None, ending)


def reading(own: int = 40, **sizes: int) -> Reading:
    return Reading(own * MB, {f"i-{name}": size * MB for name, size in sizes.items()})


def test_within_the_limit_nobody_is_ended() -> None:
    assert chosen(reading(a=472), [living("a")], LIMIT) is None


@pytest.mark.parametrize(
    ("sizes", "reserved", "victim"),
    [
        ({"a": 300, "b": 200}, {"a": 300, "b": 100}, "b"),  # not the largest: who is over most
        ({"a": 300, "b": 200}, {"a": 100, "b": 100}, "a"),
        ({"a": 300, "b": 200}, {"a": 300, "b": 210}, "a"),  # nobody is over: who is nearest
        ({"a": 250, "b": 250}, {"a": 100, "b": 100}, "b"),
    ],
)
def test_over_the_limit_who_has_most_above_its_reservation_is_ended(
    sizes: dict[str, int], reserved: dict[str, int], victim: str
) -> None:
    there = [living(name, size) for name, size in reserved.items()]
    found = chosen(reading(**sizes), there, LIMIT)
    assert found is not None
    assert found.workload == victim


def test_nobody_else_while_one_is_being_ended_for_it() -> None:
    there = [living("a", ending=REASON), living("b")]
    assert chosen(reading(a=300, b=300), there, LIMIT) is None
    there = [living("a", ending="storage"), living("b")]
    assert chosen(reading(a=300, b=300), there, LIMIT) == there[1]


def test_the_node_itself_is_never_chosen() -> None:
    assert chosen(reading(own=600), [], LIMIT) is None


def test_high_lasts_until_it_is_clearly_over() -> None:
    assert not is_high(460 * MB, LIMIT, was_high=False)
    assert is_high(461 * MB, LIMIT, was_high=False)
    assert is_high(436 * MB, LIMIT, was_high=True)
    assert not is_high(435 * MB, LIMIT, was_high=True)


def test_a_workload_with_two_instances_is_shown_with_both() -> None:
    beside = Living("a", "i-b", None, 0, None, "")
    assert by_workload(reading(a=200, b=100), [living("a"), beside]) == {"a": 300 * MB}


def test_words() -> None:
    used = by_workload(reading(cam=210, sensors=190), [living("cam"), living("sensors")])
    usage = MemoryUsage(LIMIT, 471 * MB, 0, 71 * MB, used)
    assert str(usage) == "91 % of 512 MB: cam 210 MB, sensors 190 MB, the node itself 71 MB"


def table(*processes: tuple[int, int]) -> dict[int, Process]:
    """(pid, parent); started at pid × 10."""
    return {pid: Process(pid, parent, pid * 10, 1) for pid, parent in processes}


AGENT, KEEPER = 100, 101


def test_a_process_belongs_to_its_nearest_known_ancestor() -> None:
    processes = table((1, 0), (AGENT, 1), (KEEPER, 1), (200, KEEPER), (201, 200), (202, 201), (300, 1), (150, AGENT))  # fmt: skip
    found = owners(processes, [living("a", pid=200)], [AGENT, KEEPER], {})
    assert found == {AGENT: "", KEEPER: "", 150: "", 200: "i-a", 201: "i-a", 202: "i-a"}


def test_one_that_has_lost_its_parents_is_known_by_its_mark() -> None:
    processes = table((1, 0), (KEEPER, 1), (200, KEEPER), (210, KEEPER), (211, 210), (212, 1))
    marks = {200: mark_of("i-a"), 210: mark_of("i-a"), 212: mark_of("other")}
    found = owners(processes, [living("a", pid=200)], [KEEPER], marks)
    assert found == {KEEPER: "", 200: "i-a", 210: "i-a", 211: "i-a"}


def test_a_pid_that_somebody_else_has_now_counts_for_nobody() -> None:
    processes = {1: Process(1, 0, 1, 1), 200: Process(200, 1, 999, 1)}
    assert owners(processes, [living("a", pid=200)], [], {}) == {}


def test_the_meter_measures_this_process_exactly_when_it_is_near_the_limit() -> None:
    meter = ProcMeter(ManualClock())
    rough = meter.read([], None, high=10**15)
    exact = meter.read([], None, high=0)
    assert 10 * MB < exact.own <= rough.own
    assert exact.instances == {}
    me = ProcessIdentity(BOOT, os.getpid(), 0)
    there = [Living("a", "i-a", me, 0, None, "")]
    assert meter.read(there, None, high=0).instances == {}  # another start time: another process


def facts(excess: Excess | None, moment: Moment | None = None) -> Facts:
    return Facts(moment or later(0), excesses=() if excess is None else (excess,))


MEMORY = Excess("a", "i1", REASON, "has 610 MB", at_once=True)
STORAGE = Excess("a", "i1", "storage", "has 120 MB", at_once=False)


def test_one_that_is_over_a_limit_is_ended_and_judged_as_failed() -> None:
    wanted = wish("a", restart=Restart(policy="on-failure"))
    held = live(wanted)
    assert step_for(held, {"a": wanted}, {"a": held}, facts(MEMORY)) == EndExcess("a", MEMORY)
    over = transitions.exceeding(held, MEMORY, later(0))
    assert (over.phase, over.message) == ("stopping", "ending: memory of the node: has 610 MB")
    assert step_for(over, {"a": wanted}, {"a": over}, facts(MEMORY)) == KillWorkload("a")
    gone = transitions.ended(over, Exit(signal=9, at=1), later(1), 0.5)
    assert (gone.phase, gone.message) == ("backoff", "ended: signal 9 (memory of the node)")
    assert gone.exit is not None
    assert gone.exit.reason == REASON


def test_it_is_a_failure_even_if_the_program_ends_well() -> None:
    wanted = wish("a", restart=Restart(policy="never"))
    over = transitions.exceeding(live(wanted), STORAGE, later(0))
    assert isinstance(step_for(over, {"a": wanted}, {"a": over}, facts(STORAGE)), Wait)
    gone = transitions.ended(over, Exit(code=0, at=1), later(1), 0.5)
    assert gone.phase == "failed"
    assert not Exit(code=0, reason="storage").ok


def test_an_excess_of_another_instance_means_nothing() -> None:
    held = live(wish("a"), instance="i2")
    assert isinstance(step_for(held, {"a": wish("a")}, {"a": held}, facts(MEMORY)), Wait)


def test_each_of_two_instances_is_ended_for_its_own_excess() -> None:
    wanted = wish("a", 2, command="new", update=Update(strategy="overlap"))
    both = replace(live(wish("a")), beside=live(wanted, instance="i2"))
    second = replace(MEMORY, instance="i2")
    found = step_for(both, {"a": wanted}, {"a": both}, Facts(later(0), excesses=(second,)))
    assert found == Beside(EndExcess("a", second))
    assert both.beside is not None
    over = overlap.exceeding(both.beside, second, later(0), 0.5)
    killed = replace(both, beside=overlap.killed(over, later(0)))
    facts_of_both = Facts(later(0), excesses=(MEMORY, second))
    assert step_for(killed, {"a": wanted}, {"a": killed}, facts_of_both) == EndExcess("a", MEMORY)
    after = overlap.ended(over, Exit(signal=9, at=1, reason=REASON), later(1), 0.5)
    assert after is not None
    assert (after.phase, after.message) == ("backoff", "ended: signal 9 (memory of the node)")
    assert after.history.short_lives == 1


def test_a_predecessor_over_a_limit_leaves_nothing_behind() -> None:
    old = transitions.stopping_because(
        live(wish("a")), "stopping: its successor is ready", later(0)
    )
    over = overlap.exceeding(old, MEMORY, later(1), 0.5)
    assert over.instance is not None
    assert over.instance.kill_at == later(1).monotonic
    assert overlap.ended(over, Exit(signal=9, at=1), later(1), 0.5) is None


def test_grace_ends_when_memory_runs_out() -> None:
    stopping = transitions.stopping(live(wish("a")), "restart", later(0))
    step = step_for(stopping, {"a": wish("a")}, {"a": stopping}, facts(MEMORY))
    assert step == EndExcess("a", MEMORY)
    over = transitions.exceeding(stopping, MEMORY, later(1))
    assert over.instance is not None
    assert over.instance.kill_at == later(1).monotonic
    storage = step_for(stopping, {"a": wish("a")}, {"a": stopping}, facts(STORAGE))
    assert not isinstance(storage, EndExcess | StopWorkload)


def test_a_child_of_the_nodes_own_counts_once_it_stays() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    processes = {
        1: Process(1, 0, 100 * ticks, 50 * MB),
        2: Process(2, 1, 199 * ticks, 40 * MB),  # makes a key
        3: Process(3, 1, 150 * ticks, 40 * MB),  # makes a backup
        4: Process(4, 0, 199 * ticks, 90 * MB),  # a workload's
    }
    owned = {1: "", 2: "", 3: "", 4: "instance"}
    assert without_brief(owned, processes, [1], 200.0).keys() == {1, 3, 4}
    assert without_brief(owned, processes, [1], 220.0).keys() == {1, 2, 3, 4}


def test_what_was_found_to_be_too_much_is_taken_off_each_part() -> None:
    """A sum that is over the limit only by what processes share ends nobody, for as long as that is known."""
    rough, exact = Reading(62 * MB, {"i-a": 189 * MB}), Reading(40 * MB, {"i-a": 183 * MB})
    surplus = lessened(rough, exact)
    assert surplus == Reading(22 * MB, {"i-a": 6 * MB})
    assert lessened(rough, surplus) == exact
    grown = Reading(62 * MB, {"i-a": 199 * MB, "i-b": 30 * MB})
    assert lessened(grown, surplus) == Reading(40 * MB, {"i-a": 193 * MB, "i-b": 30 * MB})


def test_the_meter_takes_off_what_it_has_found() -> None:
    """A child shares this process's pages, so the sum of resident sets is far too much."""
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        meter = ProcMeter(ManualClock())
        rough = meter.read([], None, high=10**15)
        exact = meter.read([], None, high=0)
        again = meter.read([], None, high=10**15)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert rough.own - exact.own > 10 * MB
    assert abs(again.own - exact.own) < 3 * MB
