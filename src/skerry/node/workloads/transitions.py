"""How a workload's row changes: one pure function for each thing that can happen to it.

`plan` decides what should happen, `executor` makes it happen and writes what these functions return.
The phases and the arrows between them are drawn in docs/reference/lifecycle.md.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.kit.units import format_duration
from skerry.node.ports import EngineRestart, Excess, ProcessIdentity, RunningInstance
from skerry.node.store.instances import ActualWorkload, History, Instance
from skerry.node.store.workers import Cause, PastRestart
from skerry.node.workloads.restart import Ending, Verdict, after_exit
from skerry.node.workloads.steps import StopReason
from skerry.wire.workload import Assignment, Exit, Generation, Phase, Restart, WorkloadStatus

KILL_AGAIN = 5.0
"""Seconds after which a SIGKILL without effect is repeated."""

_STOPPING: dict[StopReason, str] = {
    "changed": "its spec has changed",
    "removed": "it was removed from this node",
    "restart": "a restart was asked for",
    "disconnected": "the hub has been away for too long",
    "node-stop": "«skerry node stop --workloads»",
    "reload": "its scripts are loaded anew",
    "by-hand": "«skerry worker stop»",
    "held": "this device wants it down",
    "not-ready": "it was not ready in time",
}

_STOP = "stopping: "

_CHANGES = {
    f"{_STOP}{_STOPPING['changed']}": "its spec or models have changed",
    f"{_STOP}{_STOPPING['held']}": "everything of this device's own is started anew",
}
"""Why a worker group is stopped, by what is said of it, only to start again with nobody having asked for that."""


class Moment(msgspec.Struct, frozen=True):
    """One reading of the clock."""

    wall: int
    monotonic: int
    boot_id: str


def first_seen(assignment: Assignment, moment: Moment) -> ActualWorkload:
    """A workload that this node did not have."""
    return ActualWorkload(assignment, moment.boot_id, "pending", moment.wall)


def renewed(actual: ActualWorkload, assignment: Assignment, moment: Moment) -> ActualWorkload:
    """A new spec, or a restart on demand, for a workload of which nothing lives: its past does not count."""
    return replace(
        _enter(actual, "pending", moment),
        assignment=assignment,
        history=History(),
        due=None,
        starts=0,
    )


def starting(
    actual: ActualWorkload, instance: str, moment: Moment, slot: int | None = None
) -> ActualWorkload:
    """The runtime is about to be asked for a new instance, in `slot` or else in one that is free."""
    new = Instance(
        id=instance,
        generation=actual.assignment.generation,
        boot_id=moment.boot_id,
        started_at=moment.wall,
        started=moment.monotonic,
        slot=actual.slot if slot is None else slot,
    )
    return replace(
        _enter(actual, "starting", moment), instance=new, starts=actual.starts + 1, due=None
    )


def started(
    actual: ActualWorkload, identity: ProcessIdentity, moment: Moment, isolation: str = ""
) -> ActualWorkload:
    """The runtime has answered. An instance that is being stopped goes on being stopped."""
    assert actual.instance is not None  # noqa: S101 - only a live instance gets an identity
    isolation = isolation or actual.instance.isolation
    instance = replace(actual.instance, identity=identity, isolation=isolation)
    known = replace(actual, instance=instance)
    if actual.phase != "starting":
        return known
    return replace(_enter(known, "running", moment), ready=actual.assignment.spec.probe is None)


def restarted(actual: ActualWorkload, told: EngineRestart, moment: Moment) -> ActualWorkload:
    """Its engine has started the instance again, or is about to: it goes on. Telling the same twice changes nothing."""
    instance = actual.instance
    assert instance is not None  # noqa: S101 - only a live instance is started again
    is_known = instance.identity is not None
    identity = told.identity if is_known and told.identity is not None else instance.identity
    after = replace(instance, restarts=told.count, identity=identity)
    if after == instance and told.identity is not None:
        return actual
    counted = replace(actual, instance=after, starts=actual.starts + restarts_more(instance, told))
    if actual.phase != "running":
        return counted
    entered = replace(_enter(counted, "running", moment), exit=told.exit)
    if told.identity is None:
        return probed(
            entered, ready=False, failure=f"ended: {told.exit}; its engine starts it again"
        )
    return probed(entered, ready=actual.assignment.spec.probe is None, failure="")


def restarts_more(instance: Instance, told: EngineRestart) -> int:
    """How many restarts of the instance are news. A lower count is that of an engine which was started anew itself."""
    return told.count - instance.restarts if told.count >= instance.restarts else told.count


def is_by_itself(row: ActualWorkload) -> bool:
    """Whether an end of its instance now is none that was asked for."""
    return row.phase != "stopping" or (row.instance is not None and bool(row.instance.cause))


def adopted(
    actual: ActualWorkload | None, assignment: Assignment, living: RunningInstance, moment: Moment
) -> ActualWorkload:
    """An instance lives that the store has lost, made from `assignment`: it goes on."""
    instance = Instance(
        id=living.instance,
        generation=assignment.generation,
        boot_id=moment.boot_id,
        started_at=moment.wall,
        started=moment.monotonic,
        identity=living.identity,
        isolation=living.isolation,
        slot=0 if actual is None else actual.slot,
    )
    held = replace(
        actual or first_seen(assignment, moment), assignment=assignment, instance=instance, due=None
    )
    running = _enter(held, "running", moment)
    return replace(running, ready=assignment.spec.probe is None, starts=max(held.starts, 1))


def refused(actual: ActualWorkload, cause: str, moment: Moment, chance: float) -> ActualWorkload:
    """The runtime says that this launch is wrong: a failure, as if the process had ended at once."""
    gone = replace(actual, instance=None, ready=False, exit=None)
    ending = Ending(Exit(), 0.0, moment.monotonic)
    return _judged(gone, after_exit(_policy(actual), actual.history, ending, chance), cause, moment)


def probed(actual: ActualWorkload, *, ready: bool, failure: str) -> ActualWorkload:
    """The readiness probe has a new result."""
    return replace(actual, ready=ready, probe=failure)


def stopping(actual: ActualWorkload, reason: StopReason, moment: Moment) -> ActualWorkload:
    """The instance is about to be asked to end; the grace period begins."""
    lock = None if actual.instance is None else actual.instance.lock
    held_up = lock is not None and lock.until > moment.monotonic
    ignored = "; its update lock does not hold that up" if held_up else ""
    return stopping_because(actual, f"{_STOP}{_STOPPING[reason]}{ignored}", moment)


def stopping_because(actual: ActualWorkload, message: str, moment: Moment) -> ActualWorkload:
    """As `stopping`, for causes that no step names."""
    assert actual.instance is not None  # noqa: S101 - only a live instance can be stopped
    kill_at = moment.monotonic + int(actual.assignment.spec.stop.grace * NS)
    ending = replace(actual.instance, kill_at=kill_at)
    return replace(_enter(actual, "stopping", moment, message), instance=ending)


def exceeding(actual: ActualWorkload, excess: Excess, moment: Moment) -> ActualWorkload:
    """The instance is over a limit and about to be ended: at once, or after its grace period."""
    assert actual.instance is not None  # noqa: S101 - only a live instance exceeds anything
    grace = 0.0 if excess.at_once else actual.assignment.spec.stop.grace
    due = moment.monotonic + int(grace * NS)
    given = actual.instance.kill_at
    kill_at = due if given is None else min(given, due)
    ending = replace(actual.instance, kill_at=kill_at, cause=excess.reason)
    message = f"ending: {excess.reason}: {excess.detail}"
    return replace(_enter(actual, "stopping", moment, message), instance=ending)


def given_grace(actual: ActualWorkload, moment: Moment) -> ActualWorkload:
    """The grace period begins now: writing it down has taken longer than it lasts."""
    assert actual.instance is not None  # noqa: S101 - only a live instance is being ended
    kill_at = moment.monotonic + int(actual.assignment.spec.stop.grace * NS)
    return replace(actual, instance=replace(actual.instance, kill_at=kill_at))


def killed(actual: ActualWorkload, moment: Moment) -> ActualWorkload:
    """SIGKILL was sent; it will be repeated if no exit follows."""
    assert actual.instance is not None  # noqa: S101 - only a live instance can be killed
    kills = actual.instance.kills + 1
    kill_at = moment.monotonic + int(KILL_AGAIN * NS)
    times = "once" if kills == 1 else f"{kills} times"
    return replace(
        actual,
        message=f"did not end within its grace period: SIGKILL sent {times}",
        instance=replace(actual.instance, kill_at=kill_at, kills=kills),
    )


def exit_of(instance: Instance, exit_: Exit) -> Exit:
    """How it ended, with the limit for which the node ended it."""
    return msgspec.structs.replace(exit_, reason=instance.cause) if instance.cause else exit_


def ended(actual: ActualWorkload, exit_: Exit, moment: Moment, chance: float) -> ActualWorkload:
    """The instance has ended: as asked, or by itself or over a limit, and then the restart policy decides."""
    assert actual.instance is not None  # noqa: S101 - only a live instance can end
    cause, exit_ = actual.instance.cause, exit_of(actual.instance, exit_)
    gone = replace(actual, instance=None, ready=False, probe="", exit=exit_)
    if actual.phase == "stopping" and not cause:
        fresh = replace(gone, history=History(), starts=0)
        return _enter(fresh, "stopped", moment, actual.message)
    ending = Ending(exit_, _life(actual.instance, exit_, moment), moment.monotonic)
    verdict = after_exit(_policy(actual), actual.history, ending, chance)
    return _judged(gone, verdict, f"ended: {exit_}", moment)


def not_made(actual: ActualWorkload, moment: Moment) -> ActualWorkload:
    """The instance turned out never to have been made: no life, no failure, no start."""
    phase: Phase = "stopped" if actual.phase == "stopping" else "pending"
    starts = max(actual.starts - 1, 0)
    gone = replace(actual, instance=None, ready=False, probe="", starts=starts)
    return _enter(gone, phase, moment)


def rebooted(actual: ActualWorkload, moment: Moment) -> ActualWorkload:
    """The machine has restarted: nothing lives, nothing waits, and what was not finished starts at once."""
    unknown = Exit(at=moment.wall) if actual.instance is not None else actual.exit
    fresh = replace(
        actual,
        boot_id=moment.boot_id,
        history=History(),
        due=None,
        ready=False,
        probe="",
        exit=unknown,
        instance=None,
        starts=0,
        beside=None if actual.beside is None else untried(actual.beside, moment),
    )
    if actual.phase in {"succeeded", "failed", "stopped"}:
        return fresh
    return _enter(fresh, "pending", moment, "the machine has restarted")


def noted_restart(
    old: ActualWorkload | None, new: ActualWorkload, moment: Moment
) -> PastRestart | None:
    """What a worker group's history gets when `new` follows `old`: restarts by the policy, asked for at the hub, or for a change.

    Those that are asked for at the device are noted with the wish (`workers.intents`).
    """
    if old is None or new.assignment.spec.worker is None:
        return None
    by_hand = new.assignment.local.stopped
    if new.assignment.restarts > old.assignment.restarts and not by_hand:
        return _restart("manual", "«skerry restart», asked of the hub", moment)
    if new.starts > max(old.starts, 1):
        cause = old.message if new.exit is None else f"ended: {new.exit}"
        return _restart("crash", cause, moment)
    if new.phase == "stopping" != old.phase and (
        why := _CHANGES.get(new.message.partition(";")[0])
    ):
        return _restart("change", why, moment)
    return None


def _restart(cause: Cause, detail: str, moment: Moment) -> PastRestart:
    return PastRestart(moment.wall, moment.boot_id, moment.monotonic, cause, detail)


def untried(beside: ActualWorkload, moment: Moment) -> ActualWorkload | None:
    """After a reboot: a successor is tried anew; of what was being ended nothing is left."""
    if beside.phase == "stopping" and beside.due is None:
        return None
    return renewed(replace(beside, instance=None, ready=False, probe=""), beside.assignment, moment)


def waiting(actual: ActualWorkload, phase: Phase, reason: str, moment: Moment) -> ActualWorkload:
    """Nothing happens, and this is why. Being stopped on purpose forgets failures."""
    if phase == actual.phase:
        return replace(actual, message=reason)
    entered = _enter(actual, phase, moment, reason)
    return replace(entered, history=History(), due=None) if phase == "stopped" else entered


def status_of(actual: ActualWorkload, moment: Moment) -> WorkloadStatus:
    """The workload as people and the hub see it."""
    instance = actual.instance
    lock = None if instance is None else instance.lock
    beside = actual.beside
    due = actual.due if actual.due is not None or beside is None else beside.due
    in_future = due is not None and due > moment.monotonic
    return WorkloadStatus(
        workload=actual.name,
        generation=actual.assignment.generation,
        phase=actual.phase,
        since=actual.since,
        ready=actual.ready,
        restarts=max(actual.starts - 1, 0),
        pid=instance.identity.pid or None if instance and instance.identity else None,
        exit=actual.exit,
        next_start_at=moment.wall + (due or 0) - moment.monotonic if in_future else None,
        message=actual.message,
        isolation=instance.isolation if instance else "",
        locked_until=lock.until_at if lock is not None and lock.until > moment.monotonic else None,
        failed_generation=_failed_beside(actual),
    )


def _failed_beside(actual: ActualWorkload) -> Generation | None:
    beside = actual.beside
    return (
        None if beside is None or not beside.history.short_lives else beside.assignment.generation
    )


def _enter(
    actual: ActualWorkload, phase: Phase, moment: Moment, message: str = ""
) -> ActualWorkload:
    return replace(actual, phase=phase, since=moment.wall, message=message, boot_id=moment.boot_id)


def _judged(actual: ActualWorkload, verdict: Verdict, cause: str, moment: Moment) -> ActualWorkload:
    message = cause
    if verdict.phase == "tripped":
        window = format_duration(_policy(actual).window)
        message = f"{cause}; it keeps failing, so there is one try each {window}"
    return replace(
        _enter(actual, verdict.phase, moment, message), history=verdict.history, due=verdict.due
    )


def _policy(actual: ActualWorkload) -> Restart:
    return actual.assignment.spec.restart


def _life(instance: Instance, exit_: Exit, moment: Moment) -> float:
    """Seconds. The runtime's wall time tells when an exit came while no agent was there, but a wall clock may jump."""
    alive = moment.monotonic - instance.started
    told = max(exit_.at - instance.started_at, 0)
    return min(alive, told) / NS
