"""Updates without a gap: the successor is started beside what runs, proves itself, and only then takes its place. Pure.

A workload's row may have another one beside it (`ActualWorkload.beside`), and that one is always

    a successor       from its start until it has proven itself, or has failed and is to be tried again
    a predecessor     from the moment at which its successor took its place until it has ended

so there are never more than two instances. `plan` decides for the one that serves and asks here for the other.
"""

from __future__ import annotations

from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.kit.units import format_duration
from skerry.node.ports import Excess
from skerry.node.store.instances import ActualWorkload, History, Instance
from skerry.node.workloads import changes, locks, transitions
from skerry.node.workloads.restart import Ending, after_exit
from skerry.node.workloads.steps import (
    AbandonInstance,
    Beside,
    KillWorkload,
    Promote,
    StartWorkload,
    Step,
    StopReason,
    StopWorkload,
    Wait,
)
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, Phase, Restart

REPLACING: frozenset[StopReason] = frozenset({"changed", "restart", "reload"})
"""The reasons for which an instance is ended in favour of a successor."""

_KEPT_UP: frozenset[Phase] = frozenset({"pending", "starting", "running", "stopping", "stopped", "backoff"})  # fmt: skip
"""Phases in which what served is kept up against a successor that has failed."""


def hold(actual: ActualWorkload | None, wish: Assignment, moment: Moment) -> ActualWorkload:
    """As `changes.hold`, for the other row as well. While a successor fails, even a crash does not bring it into force."""
    beside = None if actual is None else actual.beside
    if actual is None or beside is None:
        return changes.hold(actual, wish, moment)
    if beside.instance is None and beside.assignment.generation < wish.generation:
        beside = transitions.renewed(beside, wish, moment)
    beside = _probed_anew(beside, changes.hold(beside, wish, moment))
    is_tried = is_wanted(actual, wish) and changes.in_force(beside.assignment, wish)
    if not (is_tried and actual.phase in _KEPT_UP):
        actual = changes.hold(actual, wish, moment)
    if beside.instance is None and not is_wanted(actual, wish):
        return replace(actual, beside=None)
    return replace(actual, beside=beside)


def _probed_anew(before: ActualWorkload, after: ActualWorkload) -> ActualWorkload:
    """A successor proves itself by the probe that is wanted now, not by an earlier one or by having had none."""
    probe = after.assignment.spec.probe
    is_new = probe is not None and probe != before.assignment.spec.probe
    return replace(after, ready=False, probe="") if is_new else after


def is_wanted(held: ActualWorkload, wish: Assignment | None) -> bool:
    """Whether `wish` is to take the place of what serves without a gap."""
    if wish is None or wish.spec.update.strategy != "overlap":
        return False
    return not changes.in_force(held.assignment, wish)


def is_kept_up(held: ActualWorkload) -> bool:
    """Whether it is an earlier version, to be started again while its successor is yet to be tried."""
    beside = held.beside
    return held.instance is None and beside is not None and beside.instance is None


def instead_of_stop(
    held: ActualWorkload, wish: Assignment | None, obstacle: str, moment: Moment
) -> Step | None:
    """What is done in place of the stop of an instance that is to be replaced; None: it is stopped.

    `obstacle`: why the successor may not be started now.
    """
    if not is_wanted(held, wish) or held.instance is None:
        return None
    beside = held.beside
    if held.instance.identity is None:
        return None if beside is None else StartWorkload(held.name)
    if beside is not None and beside.instance is not None:
        return Wait(held.name, "running", _trouble(held))
    if beside is not None and beside.due is not None and moment.monotonic < beside.due:
        return Wait(held.name, "running", _failed(beside), beside.due)
    if obstacle:
        return Wait(held.name, "running", f"goes on as before: {obstacle}")
    return Beside(StartWorkload(held.name))


def step_beside(
    held: ActualWorkload, wish: Assignment | None, reason: StopReason | None, moment: Moment
) -> Step:
    """The step for the other row; `Wait` leaves the turn to the one that serves. `reason`: why that one is to end."""
    beside, name = held.beside, held.name
    if beside is None or beside.instance is None:
        return Wait(name, held.phase)
    if beside.instance.kill_at is not None:
        return _being_stopped(beside, beside.instance, held.phase, moment.monotonic)
    if reason is not None and reason not in REPLACING:
        return Beside(StopWorkload(name, reason))
    if held.instance is None:
        return Promote(name)
    return _step_of_successor(held, held.instance, beside, beside.instance, wish, moment)


def _step_of_successor(
    held: ActualWorkload,
    serving: Instance,
    beside: ActualWorkload,
    instance: Instance,
    wish: Assignment | None,
    moment: Moment,
) -> Step:
    if serving.kill_at is not None:
        return Wait(held.name, held.phase, "its successor takes its place when it has ended")
    if wish is None or not is_wanted(held, wish) or not changes.in_force(beside.assignment, wish):
        return Beside(StopWorkload(held.name, "changed"))
    if instance.identity is None:
        return Beside(StartWorkload(held.name))
    return _proving(held, serving, beside, instance, moment)


def _proving(
    held: ActualWorkload,
    serving: Instance,
    beside: ActualWorkload,
    instance: Instance,
    moment: Moment,
) -> Step:
    spec, name = beside.assignment.spec, held.name
    again = ", tried again" if beside.history.short_lives else ""
    label = f"its successor (generation {beside.assignment.generation.n}{again})"
    if spec.probe is not None and not beside.ready:
        limit = instance.started + int(spec.update.ready_within * NS)
        if moment.monotonic >= limit:
            return Beside(StopWorkload(name, "not-ready"))
        why = beside.probe or "not ready yet"
        return Wait(name, held.phase, f"{label} is being started: {why}", limit)
    proven = instance.started + int(spec.update.min_healthy * NS)
    if spec.ready is None and moment.monotonic < proven:
        words = f"{label} has to run for {format_duration(spec.update.min_healthy)}"
        return Wait(name, held.phase, words, proven)
    lock = locks.in_force(serving, spec, moment)
    if lock is not None:
        return Wait(name, held.phase, f"update waits: {locks.shown(lock)}", lock.until)
    return Promote(name)


def _being_stopped(beside: ActualWorkload, instance: Instance, phase: Phase, now: int) -> Step:
    name = beside.name
    if instance.kill_at is not None and now < instance.kill_at:
        return Wait(
            name, phase, f"ends another instance beside it ({beside.message})", instance.kill_at
        )
    if instance.kills and instance.identity is None:
        return Beside(AbandonInstance(name))
    return Beside(KillWorkload(name))


def promoted(held: ActualWorkload, moment: Moment) -> ActualWorkload:
    """The successor is what the workload is from now on, started or not; what served is about to be asked to end."""
    new = held.beside
    assert new is not None  # noqa: S101 - only a successor is promoted
    if new.instance is None:
        return replace(transitions.renewed(new, new.assignment, moment), exit=held.exit)
    old = None
    if held.instance is not None:
        ending = replace(held, beside=None, history=History(), due=None)
        old = transitions.stopping_because(ending, "stopping: its successor is ready", moment)
    return replace(
        new, history=History(), due=None, starts=1, exit=held.exit, message="", beside=old
    )


def stopping(beside: ActualWorkload, reason: StopReason, moment: Moment, chance: float) -> ActualWorkload:  # fmt: skip
    """The instance is about to be asked to end. `chance` is the jitter of the next attempt, when this one has failed."""
    if reason != "not-ready":
        return transitions.stopping(beside, reason, moment)
    within = format_duration(beside.assignment.spec.update.ready_within)
    why = f"not ready within {within}"
    if beside.probe:
        why = f"{why}: {beside.probe.removeprefix('not ready: ')}"
    return transitions.stopping_because(_failing(beside, moment, chance), why, moment)


def exceeding(
    beside: ActualWorkload, excess: Excess, moment: Moment, chance: float
) -> ActualWorkload:
    """The instance is over a limit. For a successor that is a failed attempt; one that was being ended is ended."""
    judged = beside if beside.phase == "stopping" else _failing(beside, moment, chance)
    return transitions.exceeding(judged, excess, moment)


def killed(beside: ActualWorkload, moment: Moment) -> ActualWorkload:
    """SIGKILL was sent. Why an attempt has failed stays known."""
    after = transitions.killed(beside, moment)
    return after if beside.due is None else replace(after, message=beside.message)


def _failing(beside: ActualWorkload, moment: Moment, chance: float) -> ActualWorkload:
    """A successor that is about to be ended because it has failed: when it is tried again."""
    ending = Ending(Exit(), 0.0, moment.monotonic)
    verdict = after_exit(_always(beside).assignment.spec.restart, beside.history, ending, chance)
    return replace(beside, history=verdict.history, due=verdict.due)


def ended(
    beside: ActualWorkload, exit_: Exit, moment: Moment, chance: float
) -> ActualWorkload | None:
    """The instance has ended: as asked (None: nothing remains of it), or by itself, which is a failed attempt."""
    if beside.phase == "stopping":
        cause = "" if beside.instance is None else beside.instance.cause
        message = f"ended: {exit_}" if cause else beside.message
        return _after_stop(replace(beside, exit=exit_, message=message), moment)
    return _judged_by(beside, transitions.ended(_always(beside), exit_, moment, chance))


def refused(beside: ActualWorkload, cause: str, moment: Moment, chance: float) -> ActualWorkload:
    """The runtime says that this launch is wrong: a failed attempt."""
    return _judged_by(beside, transitions.refused(_always(beside), cause, moment, chance))


def not_made(beside: ActualWorkload, moment: Moment) -> ActualWorkload | None:
    """The instance turned out never to have been made."""
    if beside.phase == "stopping":
        return _after_stop(beside, moment)
    return transitions.not_made(beside, moment)


def _after_stop(beside: ActualWorkload, moment: Moment) -> ActualWorkload | None:
    if beside.due is None:
        return None
    return replace(
        beside,
        instance=None,
        ready=False,
        probe="",
        phase="tripped" if beside.history.half_open else "backoff",
        since=moment.wall,
    )


def _always(beside: ActualWorkload) -> ActualWorkload:
    """A successor that ends before it has proven itself is tried again, whatever the policy says of its later life."""
    assignment = beside.assignment
    policy: Restart = replace(assignment.spec.restart, policy="always")
    spec = replace(assignment.spec, restart=policy)
    return replace(beside, assignment=replace(assignment, spec=spec))


def _judged_by(beside: ActualWorkload, judged: ActualWorkload) -> ActualWorkload:
    return replace(judged, assignment=beside.assignment)


def _failed(beside: ActualWorkload) -> str:
    number = beside.assignment.generation.n
    return f"goes on as before: update to generation {number} failed: {beside.message}"


def _trouble(held: ActualWorkload) -> str:
    """What else is wrong with what serves."""
    return "" if held.ready else held.probe or "not ready yet"
