"""From what is wanted and what is, the steps that are possible now. Pure and deterministic.

No plan is stored and none is long: after each step the next one is decided from what is then, so a crash
loses one pass. `executor` carries steps out; `supervise` decides again whenever something has happened.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.kit.units import format_duration
from skerry.node.ports import Excess
from skerry.node.store.instances import ActualWorkload, Instance
from skerry.node.workloads import locks, overlap
from skerry.node.workloads.changes import in_force, is_stale, reload_asked, restart_asked
from skerry.node.workloads.dependencies import Actual, Desired, missing, unmet
from skerry.node.workloads.steps import (
    AbandonInstance,
    Beside,
    EndExcess,
    KillWorkload,
    Promote,
    Remove,
    StartWorkload,
    Step,
    StopReason,
    StopWorkload,
    Wait,
)
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Phase, WorkloadSpec

_FINISHED: set[Phase] = {"succeeded", "failed"}


class Facts(msgspec.Struct, frozen=True):
    """What matters besides the workloads themselves."""

    moment: Moment
    offline_for: float | None = None
    """Seconds since the node lost the hub; None: it has the hub, or never had one."""
    missing: str = ""
    """What the wish needs and this device does not have yet."""
    remark: str = ""
    """What the status of the running workload should say besides."""
    stop_all: bool = False
    """`skerry node stop --workloads` was asked."""
    excesses: tuple[Excess, ...] = ()
    """Instances of this workload are over a limit."""


def plan(desired: Desired, actual: Actual, facts: Facts) -> list[Step]:
    """One step for each workload that is wanted or there, by name; `Wait` says why nothing is done."""
    known = dict(actual) | {
        name: overlap.hold(actual.get(name), wish, facts.moment) for name, wish in desired.items()
    }
    return [step_for(known[name], desired, known, facts) for name in sorted(known)]


def step_for(held: ActualWorkload, desired: Desired, actual: Actual, facts: Facts) -> Step:
    """The step for one workload, which already holds its wish (`overlap.hold`)."""
    step = _step_for_what_serves(held, desired, actual, facts)
    if held.beside is None:
        return step
    other = held.beside.instance
    if other is not None and (excess := _excess_of(other, facts)) is not None:
        return Beside(EndExcess(held.name, excess))
    wish = desired.get(held.name)
    beside = overlap.step_beside(held, wish, _stop_reason(held, wish, facts), facts.moment)
    if not isinstance(beside, Wait):
        return beside
    return _both(step, beside, living=held.beside.instance is not None)


def _both(step: Step, beside: Wait, *, living: bool) -> Step:
    """What comes of the two rows' steps, when there is nothing to do for the one beside but wait."""
    if isinstance(step, Remove) and living:
        return replace(beside, phase="stopping")
    if not isinstance(step, Wait):
        return step
    times = [each.until for each in (step, beside) if each.until is not None]
    reason = "; ".join(filter(None, [step.reason, beside.reason]))
    return Wait(step.name, step.phase, reason, min(times, default=None))


def _step_for_what_serves(
    held: ActualWorkload, desired: Desired, actual: Actual, facts: Facts
) -> Step:
    wish = desired.get(held.name)
    if held.instance is None:
        return _without_instance(held, desired, actual, facts)
    if (excess := _excess_of(held.instance, facts)) is not None:
        return EndExcess(held.name, excess)
    if held.instance.kill_at is not None:
        return _being_stopped(held, held.instance, facts.moment.monotonic)
    reason = _stop_reason(held, wish, facts)
    if reason is not None:
        return (
            _locked(held, held.instance, wish, reason, facts)
            or _overlapped(held, wish, reason, desired, actual, facts)
            or StopWorkload(held.name, reason)
        )
    if held.instance.identity is None:
        return StartWorkload(held.name)
    return _running(held, held.instance, desired, facts)


def _without_instance(held: ActualWorkload, desired: Desired, actual: Actual, facts: Facts) -> Step:
    name, now = held.name, facts.moment.monotonic
    if name not in desired:
        return Remove(name)
    if held.phase in _FINISHED:
        return Wait(name, held.phase, held.message)
    if stopped := _why_stopped(held.assignment, desired[name], facts):
        return Wait(name, "stopped", stopped)
    if held.due is not None and now < held.due:
        tripped = held.history.half_open
        return Wait(name, "tripped" if tripped else "backoff", held.message, held.due)
    return _start(held, desired[name], desired, actual, facts)


def _start(
    held: ActualWorkload, wish: Assignment, desired: Desired, actual: Actual, facts: Facts
) -> Step:
    lacking = facts.missing if in_force(held.assignment, wish) else ""
    reason = unmet(held.assignment, desired, actual) or lacking or wish.local.waits
    if not reason:
        return StartWorkload(held.name)
    if overlap.is_kept_up(held) and not (unmet(wish, desired, actual) or facts.missing):
        return Promote(held.name)
    return Wait(held.name, "pending", reason)


def _why_stopped(held: Assignment, wish: Assignment, facts: Facts) -> str:
    if facts.stop_all:
        return "stopped by «skerry node stop --workloads»"
    if wish.local.stopped:
        by_hand = f"stopped by hand: «skerry worker start {wish.workload}» starts it"
        return wish.local.held or by_hand
    return _cut_off(held) if _is_cut_off(held, facts) else ""


def _being_stopped(held: ActualWorkload, instance: Instance, now: int) -> Step:
    if instance.kill_at is not None and now < instance.kill_at:
        return Wait(held.name, "stopping", held.message, instance.kill_at)
    if instance.kills and instance.identity is None:
        return AbandonInstance(held.name)
    return KillWorkload(held.name)


def _excess_of(instance: Instance, facts: Facts) -> Excess | None:
    """For what it must end, if it is not on its way out already; one that must go at once is not given its grace."""
    for excess in facts.excesses:
        if excess.instance == instance.id and instance.cause != excess.reason:
            return excess if instance.kill_at is None or excess.at_once else None
    return None


def _stop_reason(held: ActualWorkload, wish: Assignment | None, facts: Facts) -> StopReason | None:
    if wish is None:
        return "removed"
    halt = _halt(held.assignment, wish, facts)
    if halt is not None or in_force(held.assignment, wish):
        return halt
    if facts.missing or wish.local.waits:
        return None  # what runs goes on until its successor can start
    if restart_asked(held.assignment, wish):
        return "restart"
    return "reload" if reload_asked(held.assignment, wish) else "changed"


def _halt(held: Assignment, wish: Assignment, facts: Facts) -> StopReason | None:
    """Why it is not to run at all for now."""
    if facts.stop_all:
        return "node-stop"
    if wish.local.stopped:
        return "held" if wish.local.held else "by-hand"
    return "disconnected" if _is_cut_off(held, facts) else None


def _locked(
    held: ActualWorkload,
    instance: Instance,
    wish: Assignment | None,
    reason: StopReason,
    facts: Facts,
) -> Wait | None:
    """Waiting for the workload to let go of its lock; None when nothing holds the stop up."""
    spec = (wish or held.assignment).spec
    lock = locks.in_force(instance, spec, facts.moment)
    if lock is None or reason not in locks.LOCKABLE:
        return None
    message = f"{locks.LOCKABLE[reason]} waits: {locks.shown(lock)}"
    return Wait(held.name, held.phase, message, lock.until)


def _overlapped(
    held: ActualWorkload,
    wish: Assignment | None,
    reason: StopReason,
    desired: Desired,
    actual: Actual,
    facts: Facts,
) -> Step | None:
    """What is done in place of a stop, where the successor comes first."""
    if wish is None or reason not in overlap.REPLACING:
        return None
    return overlap.instead_of_stop(held, wish, unmet(wish, desired, actual), facts.moment)


def _running(held: ActualWorkload, instance: Instance, desired: Desired, facts: Facts) -> Step:
    now, spec = facts.moment.monotonic, held.assignment.spec
    times = []
    reasons = [missing(held.assignment, desired)]
    if not in_force(held.assignment, desired[held.name]):
        reasons.append(f"goes on as before: {facts.missing or desired[held.name].local.waits}")
    reasons.append(facts.remark)
    if is_stale(held.assignment, desired[held.name]):
        reasons.append("ignores an assignment that is older than the one in force")
    if held.history.half_open:
        proven = instance.started + int(spec.restart.reset_after * NS)
        if now < proven:
            reasons.append(f"on trial for {format_duration(spec.restart.reset_after)}")
            times.append(proven)
    reasons.append(_not_enforced(spec))
    if not held.ready:
        reasons.append(held.probe or "not ready yet")
    if spec.on_disconnect.stop_after is not None and facts.offline_for is not None:
        times.append(now + int((spec.on_disconnect.stop_after - facts.offline_for) * NS) + 1)
    return Wait(held.name, "running", "; ".join(filter(None, reasons)), min(times, default=None))


def _not_enforced(spec: WorkloadSpec) -> str:
    """A limit that only an engine with quotas could enforce; with `strict` it has to, or refuses the start."""
    if spec.container is None or spec.resources.storage is None or spec.isolation == "strict":
        return ""
    return "resources.storage is not enforced for containers with standard isolation"


def _is_cut_off(assignment: Assignment, facts: Facts) -> bool:
    limit = assignment.spec.on_disconnect.stop_after
    return limit is not None and facts.offline_for is not None and facts.offline_for >= limit


def _cut_off(assignment: Assignment) -> str:
    limit = assignment.spec.on_disconnect.stop_after or 0
    return f"stopped: the hub has been away for more than {format_duration(limit)}"
