"""Decides what applying workloads means: pure, no database, no clock. `fleet.workloads` does it.

A workload is wanted on every node that its selector means. An assignment is written when it is new
or its workload changed, and deleted when it is no longer wanted; nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

from skerry.core.names import DEVICES_OWN
from skerry.core.overrides import resolve
from skerry.core.selection import selects
from skerry.core.specs import check_set, check_spec
from skerry.core.specs import difference as spec_difference
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.nearest import did_you_mean
from skerry.kit.units import format_size
from skerry.wire.codec import encode
from skerry.wire.people import FieldChange
from skerry.wire.workload import WorkloadSpec

MAX_SPEC = 1024 * 1024
"""Bytes of one spec: it travels in one piece, and many places hold it whole."""


@dataclass(frozen=True)
class Node:
    """What placement needs to know of a node."""

    id: str
    name: str
    labels: dict[str, str]


@dataclass(frozen=True, order=True)
class Place:
    """One workload on one node (by its id)."""

    node: str
    workload: str


@dataclass(frozen=True)
class Difference:
    """Assignments to write and to delete."""

    write: frozenset[Place]
    delete: frozenset[Place]


@dataclass(frozen=True)
class Step:
    """What happens to one workload; `spec` is the new one, or the last one of a deleted workload."""

    name: str
    change: Literal["create", "change", "delete", "unchanged"]
    fields: list[FieldChange]
    spec: WorkloadSpec


def places(specs: Iterable[WorkloadSpec], nodes: Iterable[Node]) -> frozenset[Place]:
    """Where `specs` are wanted."""
    known = list(nodes)
    return frozenset(
        Place(node.id, spec.name)
        for spec in specs
        for node in known
        if selects(spec.on, node.name, node.labels)
    )


def difference(wanted: Set[Place], held: Set[Place], changed: Set[str]) -> Difference:
    """What turns `held` into `wanted`, when the workloads named in `changed` are new or different."""
    return Difference(
        write=frozenset(p for p in wanted if p not in held or p.workload in changed),
        delete=frozenset(held - wanted),
    )


def plan(
    held: Mapping[str, WorkloadSpec], requested: list[WorkloadSpec], *, prune: bool
) -> list[Step]:
    """One step for each requested workload, in the order of the request, then one for each pruned one.

    Raises InvalidInput when a spec is wrong or too large or a name is there twice, and Refused when
    dependencies would dangle or go in a circle.
    """
    for spec in requested:
        faults = [*check_spec(spec), *_size_fault(spec)]
        if faults:
            raise InvalidInput(f"cannot accept workload «{spec.name}»: {'; '.join(faults)}")
    wanted = {spec.name: spec for spec in requested}
    if len(wanted) < len(requested):
        raise InvalidInput(f"cannot apply: {'; '.join(check_set(requested))}. Remove one.")
    gone = sorted(held.keys() - wanted.keys()) if prune else []
    kept = {name: spec for name, spec in {**held, **wanted}.items() if name not in gone}
    check_dependencies(kept, frozenset(gone))
    _check_names(held, wanted)
    return [
        *(_step(held.get(name), spec) for name, spec in wanted.items()),
        *(Step(name, "delete", spec_difference(held[name], None), held[name]) for name in gone),
    ]


def _check_names(held: Collection[str], wanted: Iterable[str]) -> None:
    """One that was made before goes on, where devices have none of their own."""
    for name in wanted:
        if name.startswith(DEVICES_OWN) and name not in held:
            raise InvalidInput(
                f"cannot make workload «{name}»: names that begin with «{DEVICES_OWN}» are those of the workloads that devices with "
                "twins start by themselves, which would leave this one out. Choose another name."
            )


def check_on_nodes(steps: Iterable[Step], nodes: Iterable[Node]) -> None:
    """Raises InvalidInput when a node's overrides together make a spec that is wrong."""
    known = list(nodes)
    for step in steps:
        for node in known if step.spec.overrides else ():
            if not selects(step.spec.on, node.name, node.labels):
                continue
            if faults := check_spec(resolve(step.spec, node.name, node.labels)):
                raise InvalidInput(
                    f"cannot accept workload «{step.name}»: with its overrides for node «{node.name}»: "
                    f"{'; '.join(faults)}"
                )


def check_dependencies(specs: Mapping[str, WorkloadSpec], deleted: Set[str] = frozenset()) -> None:
    """Raises Refused when one of `specs` depends on what is not there, or on itself through others.

    `deleted` are those that go at the same time, for a better message.
    """
    for name, spec in specs.items():
        for dependency in spec.depends_on:
            if dependency in deleted:
                raise Refused(
                    f"cannot delete workload «{dependency}»: «{name}» depends on it. "
                    f"Delete «{name}» too, or change it first."
                )
            if dependency not in specs:
                raise Refused(
                    f"cannot accept workload «{name}»: it depends on «{dependency}», which does not exist; "
                    f"{did_you_mean(dependency, specs.keys())}"
                )
    faults = check_set(list(specs.values()))
    if faults:
        raise Refused(f"cannot accept the workloads: {'; '.join(faults)}. Remove one depends_on.")


def _size_fault(spec: WorkloadSpec) -> list[str]:
    size = len(encode(spec))
    fault = (
        f"it is described by {format_size(size)}, at most {format_size(MAX_SPEC)} are taken. "
        "Put what is large into files that it reads"
    )
    return [fault] if size > MAX_SPEC else []


def _step(old: WorkloadSpec | None, new: WorkloadSpec) -> Step:
    if old is None:
        return Step(new.name, "create", spec_difference(None, new), new)
    fields = spec_difference(old, new)
    return Step(new.name, "change" if fields or old != new else "unchanged", fields, new)
