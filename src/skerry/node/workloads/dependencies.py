"""`depends_on`: whether a workload's conditions hold. Pure.

Conditions are looked at before every start, the first as well as restarts. They never end a workload that runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.changes import in_force
from skerry.wire.workload import Assignment, Dependency

Desired = Mapping[str, Assignment]
Actual = Mapping[str, ActualWorkload]


def unmet(assignment: Assignment, desired: Desired, actual: Actual) -> str:
    """Why the workload may not start now, for people; empty when nothing is in the way."""
    waits = [
        _unmet(other, condition, desired, actual)
        for other, condition in assignment.spec.depends_on.items()
    ]
    first = next(filter(None, waits), "")
    if first and (circle := _circle(assignment.workload, desired)):
        return f"cannot start: depends_on goes in a circle: {' → '.join(circle)}"
    return first


def missing(assignment: Assignment, desired: Desired) -> str:
    """Which dependencies this node does not have (any more), for people; empty when it has all."""
    names = [name for name in assignment.spec.depends_on if name not in desired]
    return _absent(names[0]) if names else ""


def dependants(name: str, desired: Desired, actual: Actual) -> set[str]:
    """The workloads that name `name` in their depends_on, as they are wanted or as they are."""
    versions = [*desired.values(), *(held.assignment for held in actual.values())]
    return {each.workload for each in versions if name in each.spec.depends_on}


def _unmet(other: str, condition: Dependency, desired: Desired, actual: Actual) -> str:
    if other not in desired:
        return _absent(other)
    there = actual.get(other)
    if there is not None and _holds(condition, there, desired[other]):
        return ""
    words = {"running": "to run", "ready": "to be ready", "succeeded": "to succeed"}
    return f"waits for «{other}» {words[condition]}"


def _holds(condition: Dependency, there: ActualWorkload, wish: Assignment) -> bool:
    """What counts is the dependency as it is wanted now: an old one that is about to be replaced does not."""
    if not in_force(there.assignment, wish):
        return False
    if condition == "succeeded":
        return there.phase == "succeeded"
    return there.phase == "running" and (condition == "running" or there.ready)


def _absent(name: str) -> str:
    return f"needs «{name}», which is not on this node"


def _circle(start: str, desired: Desired) -> list[str]:
    """The way from `start` back to itself, or an empty list."""
    stack = [[start]]
    seen = set()
    while stack:
        way = stack.pop()
        wish = desired.get(way[-1])
        for name in wish.spec.depends_on if wish else ():
            if name == start:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                stack.append([*way, name])
    return []
