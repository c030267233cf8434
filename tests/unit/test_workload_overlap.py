"""Updates beside what runs, as a table: the two rows of a workload, and which step follows."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.workload_cases import NOW, later, live, row, wish

from skerry.kit.clock import NS
from skerry.node.store.instances import ActualWorkload, History, Lock
from skerry.node.workloads import overlap
from skerry.node.workloads.plan import Facts, plan
from skerry.node.workloads.steps import Beside, Promote, StartWorkload, Step, StopWorkload, Wait
from skerry.node.workloads.transitions import status_of
from skerry.wire.workload import Assignment, Exit, Ready, Update

T = NOW.monotonic
OVERLAP = Update(strategy="overlap", min_healthy=10, ready_within=60)
OLD = wish(n=1)
NEW = wish(n=2, command="new", update=OVERLAP)
PROBED = wish(n=2, command="new", update=OVERLAP, ready=Ready(tcp=80))


def successor(assignment: Assignment, age: float = 0, **fields: Any) -> ActualWorkload:
    return live(assignment, instance="i2", started=T - int(age * NS), **fields)


def step(wanted: Assignment | None, actual: ActualWorkload, **facts: Any) -> Step:
    desired = {} if wanted is None else {"a": wanted}
    [found] = plan(desired, {"a": actual}, Facts(NOW, **facts))
    return found


START = Beside(StartWorkload("a"))


@pytest.mark.parametrize(
    ("wanted", "beside", "expected"),
    [
        (NEW, None, START),
        (NEW, successor(NEW, phase="starting", pid=None), START),
        (NEW, successor(NEW, age=10), Promote("a")),
        (PROBED, successor(PROBED, age=1, ready=True), Promote("a")),
        (PROBED, successor(PROBED, age=60, ready=False), Beside(StopWorkload("a", "not-ready"))),
        (NEW, row(NEW, "backoff", due=T), START),
        (wish(n=3, command="newer", update=OVERLAP), row(NEW, "tripped", due=T + NS), START),
        (wish(n=3, command="newer", update=OVERLAP), successor(NEW), Beside(StopWorkload("a", "changed"))),
        (wish(n=3), successor(NEW), Beside(StopWorkload("a", "changed"))),
        (None, successor(NEW), Beside(StopWorkload("a", "removed"))),
    ],
)  # fmt: skip
def test_beside_one_that_serves(
    wanted: Assignment | None, beside: ActualWorkload | None, expected: Step
) -> None:
    assert step(wanted, replace(live(OLD), beside=beside)) == expected


def test_what_is_waited_for_is_said() -> None:
    young = step(NEW, replace(live(OLD), beside=successor(NEW, age=4)))
    assert young == Wait("a", "running", "its successor (generation 2) has to run for 10s", T + 6 * NS)  # fmt: skip
    failed = row(NEW, "backoff", due=T + NS, message="ended: code 1")
    words = "goes on as before: update to generation 2 failed: ended: code 1"
    assert step(NEW, replace(live(OLD), beside=failed)) == Wait("a", "running", words, T + NS)


def test_a_lock_holds_up_the_start_and_the_taking_over() -> None:
    serving = live(OLD)
    assert serving.instance
    lock = Lock(T, T + 30 * NS, NOW.wall + 30 * NS, "landing")
    locked = replace(serving, instance=replace(serving.instance, lock=lock))
    for beside in (None, successor(NEW, age=20)):
        found = step(NEW, replace(locked, beside=beside))
        assert isinstance(found, Wait)
        assert "update waits: locked by the workload" in found.reason


def test_both_end_on_a_stop_of_the_node_and_one_that_serves_is_missed_at_once() -> None:
    both = replace(live(OLD), beside=successor(NEW))
    assert step(NEW, both, stop_all=True) == Beside(StopWorkload("a", "node-stop"))
    crashed = row(OLD, "backoff", due=T + NS, beside=successor(NEW))
    assert step(NEW, crashed) == Promote("a")


def test_a_version_that_has_failed_does_not_inherit_a_crash() -> None:
    failed = row(NEW, "backoff", due=T + 9 * NS)
    crashed = row(OLD, "backoff", due=T, beside=failed)
    held = overlap.hold(crashed, NEW, NOW)
    assert held.assignment == OLD
    assert step(NEW, crashed) == StartWorkload("a")


def test_the_probe_that_counts_is_the_one_that_is_wanted_now() -> None:
    unready = successor(PROBED, age=11, ready=False, probe="not ready: port 80: refused")
    freed = wish(n=3, command="new", update=OVERLAP)
    held = overlap.hold(replace(live(OLD), beside=unready), freed, NOW)
    assert held.beside is not None
    assert (held.beside.ready, held.beside.probe) == (True, "")
    assert step(freed, replace(live(OLD), beside=unready)) == Promote("a")
    probed = wish(n=3, command="new", update=OVERLAP, ready=Ready(tcp=80))
    found = step(probed, replace(live(OLD), beside=successor(NEW, age=5)))
    assert isinstance(found, Wait)
    assert "not ready yet" in found.reason


def test_a_version_that_cannot_be_started_any_more_gives_way() -> None:
    old, to_try = wish(n=1, depends_on={"db": "ready"}), row(NEW, "backoff", due=T + 9 * NS)
    rebooted = row(old, beside=to_try)
    assert step(NEW, rebooted) == Promote("a")
    assert overlap.promoted(rebooted, NOW) == row(NEW)
    waits = Wait("a", "pending", "needs «db», which is not on this node")
    assert step(NEW, rebooted, missing="waits for its image") == waits
    wanted = wish(n=2, command="new", update=OVERLAP, depends_on={"db": "ready"})
    assert step(wanted, row(old, beside=row(wanted))) == waits


def test_a_failed_attempt_backs_off_and_is_told() -> None:
    young = successor(PROBED, ready=False, probe="not ready: port 80: refused")
    ending = overlap.stopping(young, "not-ready", NOW, 0.5)
    after = overlap.ended(ending, Exit(code=0), later(1), 0.5)
    assert after is not None
    assert (after.phase, after.instance) == ("backoff", None)
    assert after.message == "not ready within 1m: port 80: refused"
    status = status_of(replace(live(OLD), beside=after), NOW)
    assert status.failed_generation == PROBED.generation
    assert (status.phase, status.generation) == ("running", OLD.generation)


def test_the_promoted_one_begins_anew_and_the_other_is_being_stopped() -> None:
    old = live(OLD, history=History(short_lives=3))
    new = overlap.promoted(replace(old, beside=successor(NEW, age=10)), NOW)
    assert (new.assignment, new.phase, new.starts) == (NEW, "running", 1)
    assert new.beside is not None
    assert (new.beside.phase, new.beside.due) == ("stopping", None)
    assert overlap.ended(new.beside, Exit(signal=15), NOW, 0.0) is None
