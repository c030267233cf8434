"""After a start of the agent: what the runtime has against what the store says. Pure.

Survivors are taken over, whatever else the runtime runs is ended, and what the store believes in but
nobody has is written as ended. `supervise` asks the runtime and writes the result in one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from skerry.node.ports import RunningInstance
from skerry.node.store.instances import ActualWorkload, Ended, Instance, Transition
from skerry.node.workloads import overlap, transitions
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, Generation, ProcessSpec, WorkloadSpec

_NOTHING: Mapping[str, Assignment] = {}
_MOVED = "stopping: the node's data directory has moved since it was started"


class Attachment(msgspec.Struct, frozen=True):
    """What to write, and which instances to kill because their workload has another one."""

    transitions: list[Transition] = []
    doubles: list[str] = []


def after_reboot(actual: Mapping[str, ActualWorkload], moment: Moment) -> list[Transition]:
    """Ends the instances of earlier boots. What they were is started again by the plan, without delay."""
    lost: list[Transition] = []
    for old in actual.values():
        if old.boot_id != moment.boot_id:
            new = transitions.rebooted(old, moment)
            gone = [Ended(instance.id, Exit(at=moment.wall)) for instance in old.instances]
            lost += [Transition(new, ended) for ended in gone] or [Transition(new)]
    return lost


def not_listed(
    actual: Mapping[str, ActualWorkload], running: list[RunningInstance], exited: Collection[str]
) -> list[ActualWorkload]:
    """Rows whose live instance the runtime neither lists nor has an exit for: ask it to look for them."""
    listed = {instance.instance for instance in running}
    return [
        one
        for one in _rows(actual)
        if one.instance and one.instance.id not in listed and one.instance.id not in exited
    ]


def attach(
    actual: Mapping[str, ActualWorkload],
    running: list[RunningInstance],
    exited: Collection[str],
    moment: Moment,
    chance: random.Random,
    *,
    started: Mapping[str, Assignment] = _NOTHING,
) -> Attachment:
    """Brings rows and runtime together. `running` includes what was found on asking; `exited` is judged later.

    `started` is what the workloads were made from, as it is known beside the store: by that an instance is taken over
    which the store has lost.
    """
    result = Attachment()
    settled = dict(actual)
    lives = {instance.instance: instance for instance in running}
    for one in actual.values():
        now = one
        if one.instance is not None and one.instance.id not in exited:
            new, ended = _matched(one, one.instance, lives, moment, chance)
            now = settled[one.name] = _add(result, now, new, ended)
        other = one.beside
        if other is not None and other.instance is not None and other.instance.id not in exited:
            beside, ended = _matched_beside(other, other.instance, lives, moment, chance)
            _add(result, now, replace(now, beside=beside), ended)
    ours = {instance.id for one in actual.values() for instance in one.instances}
    strays = [instance for instance in running if instance.instance not in ours]
    taken = {one.name for one in actual.values() if one.instances}
    living = {one.name for one in settled.values() if one.instances}
    for stray in sorted(strays, key=lambda one: one.identity.start_time):
        name = stray.workload
        if name in started and name not in living and not stray.moved:
            living.add(name)
            taken.add(name)
            adopted = transitions.adopted(settled.get(name), started[name], stray, moment)
            result.transitions.append(Transition(adopted))
        elif name in taken:
            result.doubles.append(stray.instance)
        else:
            taken.add(name)
            result.transitions.append(_stop_stray(stray, actual.get(name), moment))
    return result


def _rows(actual: Mapping[str, ActualWorkload]) -> Iterator[ActualWorkload]:
    for one in actual.values():
        yield one
        if one.beside is not None:
            yield one.beside


def _add(
    result: Attachment, old: ActualWorkload, new: ActualWorkload, ended: Ended | None
) -> ActualWorkload:
    if ended is not None or new != old:
        result.transitions.append(Transition(new, ended))
    return new


def _matched(
    one: ActualWorkload,
    instance: Instance,
    lives: Mapping[str, RunningInstance],
    moment: Moment,
    chance: random.Random,
) -> tuple[ActualWorkload, Ended | None]:
    if instance.id in lives:
        return _known(one, lives[instance.id], moment), None
    unknown = Exit(at=moment.wall)
    if instance.identity is None:
        return transitions.not_made(one, moment), Ended(instance.id, unknown)
    gone = transitions.ended(one, unknown, moment, chance.random())
    return gone, Ended(instance.id, gone.exit or unknown)


def _matched_beside(
    one: ActualWorkload,
    instance: Instance,
    lives: Mapping[str, RunningInstance],
    moment: Moment,
    chance: random.Random,
) -> tuple[ActualWorkload | None, Ended | None]:
    if instance.id in lives:
        return _known(one, lives[instance.id], moment), None
    unknown = Exit(at=moment.wall)
    if instance.identity is None:
        return overlap.not_made(one, moment), Ended(instance.id, unknown)
    exit_ = transitions.exit_of(instance, unknown)
    return overlap.ended(one, exit_, moment, chance.random()), Ended(instance.id, exit_)


def _known(one: ActualWorkload, living: RunningInstance, moment: Moment) -> ActualWorkload:
    known = transitions.started(one, living.identity, moment, living.isolation)
    if living.moved and known.phase != "stopping":
        known = transitions.stopping_because(known, _MOVED, moment)
    return known


def _stop_stray(stray: RunningInstance, owner: ActualWorkload | None, moment: Moment) -> Transition:
    """An instance that the store does not know, for example after it was restored: it is stopped, with its grace."""
    owner = owner or transitions.first_seen(_unknown_assignment(stray.workload), moment)
    instance = Instance(
        id=stray.instance,
        generation=owner.assignment.generation,
        boot_id=moment.boot_id,
        started_at=moment.wall,
        started=moment.monotonic,
        identity=stray.identity,
        isolation=stray.isolation,
    )
    message = "stopping: found running, but this node's store does not know it"
    return Transition(
        transitions.stopping_because(replace(owner, instance=instance), message, moment)
    )


def _unknown_assignment(workload: str) -> Assignment:
    """Older than any real one; only its stop settings are used."""
    spec = WorkloadSpec(name=workload, process=ProcessSpec(command=[]))
    return Assignment(workload, Generation(0, 0), spec)
