"""After a start of the agent: what the runtime has against what the store says. Pure.

Survivors are taken over, whatever else the runtime runs is ended, and what the store believes in but
nobody has is written as ended. `supervise` asks the runtime and writes the result in one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from skerry.node.ports import RunningInstance
from skerry.node.store.instances import ActualWorkload, Ended, Instance, Transition
from skerry.node.workloads import transitions
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, Exit, Generation, ProcessSpec, WorkloadSpec

_MOVED = "stopping: the node's data directory has moved since it was started"


@dataclass(frozen=True)
class Attachment:
    """What to write, and which instances to kill because their workload has another one."""

    transitions: list[Transition] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)


def after_reboot(actual: Mapping[str, ActualWorkload], moment: Moment) -> list[Transition]:
    """Ends the instances of earlier boots. What they were is started again by the plan, without delay."""
    return [
        Transition(
            transitions.rebooted(old, moment),
            Ended(old.instance.id, Exit(at=moment.wall)) if old.instance else None,
        )
        for old in actual.values()
        if old.boot_id != moment.boot_id
    ]


def not_listed(
    actual: Mapping[str, ActualWorkload], running: list[RunningInstance], exited: Collection[str]
) -> list[ActualWorkload]:
    """Workloads whose live instance the runtime neither lists nor has an exit for: ask it to look for them."""
    listed = {instance.instance for instance in running}
    return [
        one
        for one in actual.values()
        if one.instance and one.instance.id not in listed and one.instance.id not in exited
    ]


def attach(
    actual: Mapping[str, ActualWorkload],
    running: list[RunningInstance],
    exited: Collection[str],
    moment: Moment,
    chance: random.Random,
) -> Attachment:
    """Brings rows and runtime together. `running` includes what was found on asking; `exited` is judged later."""
    result = Attachment()
    lives = {instance.instance: instance for instance in running}
    for one in actual.values():
        instance = one.instance
        if instance is None or instance.id in exited:
            continue
        if instance.id in lives:
            living = lives[instance.id]
            known = transitions.started(one, living.identity, moment, living.isolation)
            if living.moved and known.phase != "stopping":
                known = transitions.stopping_because(known, _MOVED, moment)
            if known != one:
                result.transitions.append(Transition(known))
        else:
            result.transitions.append(_gone(one, instance, moment, chance.random()))
    ours = {one.instance.id for one in actual.values() if one.instance}
    strays = [instance for instance in running if instance.instance not in ours]
    taken = {one.name for one in actual.values() if one.instance}
    for stray in strays:
        if stray.workload in taken:
            result.doubles.append(stray.instance)
        else:
            taken.add(stray.workload)
            result.transitions.append(_stop_stray(stray, actual.get(stray.workload), moment))
    return result


def _gone(one: ActualWorkload, instance: Instance, moment: Moment, chance: float) -> Transition:
    unknown = Exit(at=moment.wall)
    if instance.identity is None:
        return Transition(transitions.not_made(one, moment), Ended(instance.id, unknown))
    gone = transitions.ended(one, unknown, moment, chance)
    return Transition(gone, Ended(instance.id, gone.exit or unknown))


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
