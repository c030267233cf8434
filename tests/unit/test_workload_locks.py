"""Update locks as a table: what they hold up, for how long, and what ends them."""

import pytest
from msgspec.structs import replace
from tests.workload_cases import NOW, later, live, row, wish

from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import transitions
from skerry.node.workloads.locks import LockOrder, ordered
from skerry.node.workloads.plan import Facts, plan
from skerry.node.workloads.steps import Step, StopWorkload, Wait
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, OnDisconnect, Update

CHANGED = wish(n=2, command="new")
LANDING = LockOrder(300.0, "landing")


def locked(seconds: float = 300.0, assignment: Assignment | None = None) -> ActualWorkload:
    return ordered(live(assignment), LockOrder(seconds, "landing"), NOW)


def step(
    desired: list[Assignment], actual: ActualWorkload, moment: Moment = NOW, **facts: object
) -> Step:
    [found] = plan({one.workload: one for one in desired}, {"a": actual}, Facts(moment, **facts))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("desired", "word", "reason"),
    [
        ([CHANGED], "update", "changed"),
        ([wish(restarts=1)], "restart", "restart"),
        ([], "removal", "removed"),
    ],
)
def test_it_holds_up_what_can_wait(desired: list[Assignment], word: str, reason: str) -> None:
    until = NOW.monotonic + 300 * NS
    waits = Wait(
        "a", "running", f"{word} waits: locked by the workload until 08:58:20 UTC (landing)", until
    )
    assert step(desired, locked()) == waits
    assert step(desired, locked(), later(299)) == waits
    assert step(desired, locked(), later(300)) == StopWorkload("a", reason)  # type: ignore[arg-type]


def test_it_holds_up_neither_an_outage_nor_a_stop_of_the_node() -> None:
    careful = wish(on_disconnect=OnDisconnect(stop_after=60.0))
    assert step([careful], locked(assignment=careful), offline_for=60.0) == StopWorkload(
        "a", "disconnected"
    )
    assert step([wish()], locked(), stop_all=True) == StopWorkload("a", "node-stop")
    stopping = transitions.stopping(locked(), "node-stop", NOW)
    assert stopping.message.endswith("its update lock does not hold that up")


def test_it_changes_nothing_where_nothing_waits() -> None:
    assert step([wish()], locked()) == Wait("a", "running")


def test_no_renewal_outlasts_the_spec() -> None:
    actual = locked(10_000.0)
    assert actual.instance
    assert actual.instance.lock
    assert actual.instance.lock.until == NOW.monotonic + 600 * NS
    again = ordered(actual, LANDING, later(500))
    assert again.instance
    assert again.instance.lock
    assert again.instance.lock.until == NOW.monotonic + 600 * NS
    anew = ordered(actual, LANDING, later(600))
    assert anew.instance
    assert anew.instance.lock
    assert anew.instance.lock.until == NOW.monotonic + 900 * NS


def test_the_spec_that_waits_may_shorten_it() -> None:
    hurried = wish(n=2, command="new", update=Update(lock_at_most=100.0))
    waits = step([hurried], locked())
    assert isinstance(waits, Wait)
    assert (waits.until, waits.reason) == (
        NOW.monotonic + 100 * NS,
        "update waits: locked by the workload until 08:55:00 UTC (landing)",
    )
    at_once = wish(n=2, command="new", update=Update(lock_at_most=0.0))
    assert step([at_once], locked()) == StopWorkload("a", "changed")


def test_it_ends_with_its_instance_and_by_release() -> None:
    assert ordered(locked(), LockOrder(None), NOW) == live()
    crashed = transitions.ended(locked(), Exit(code=1, at=NOW.wall), NOW, 0.5)
    assert transitions.starting(crashed, "i2", NOW).instance.lock is None  # type: ignore[union-attr]
    assert transitions.rebooted(locked(), replace(NOW, boot_id="boot-2")).instance is None


def test_what_cannot_be_locked_is_refused() -> None:
    for actual in (None, row(phase="backoff")):
        with pytest.raises(Refused, match="lives no more"):
            ordered(actual, LANDING, NOW)
    with pytest.raises(Refused, match="lives no more"):
        ordered(live(instance="i2"), LockOrder(5.0, instance="i1"), NOW)
    assert ordered(live(instance="i2"), LockOrder(5.0, instance="i2"), NOW).instance
    with pytest.raises(Refused, match="being stopped already"):
        ordered(live(phase="stopping", kill_at=1), LANDING, NOW)
    with pytest.raises(Refused, match="lock_at_most is 0s"):
        ordered(live(wish(update=Update(lock_at_most=0.0))), LANDING, NOW)


def test_the_status_tells_it_while_it_lasts() -> None:
    assert transitions.status_of(locked(), NOW).locked_until == NOW.wall + 300 * NS
    assert transitions.status_of(locked(), later(300)).locked_until is None
