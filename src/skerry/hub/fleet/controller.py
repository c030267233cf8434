"""Decides what applying workloads means: pure, no database, no clock. `fleet.workloads` does it.

A workload is wanted on every node that its selector means. An assignment is written when it is new
or its workload changed, and deleted when it is no longer wanted; nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

from skerry.core.selection import selects
from skerry.core.specs import check_set, check_spec
from skerry.core.specs import difference as spec_difference
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.nearest import did_you_mean
from skerry.kit.units import format_size
from skerry.wire.codec import encode
from skerry.wire.people import FieldChange
from skerry.wire.workload import WorkloadSpec

MAX_SPECS = 8 * 1024 * 1024
"""Bytes of all specs: whatever a node is to run must fit into one answer to its pull (wire.codec.MAX_BODY)."""

_AROUND = 512
"""Bytes that travel with each spec, generously."""


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

    Raises InvalidInput when a spec is wrong or a name is there twice, and Refused when dependencies would
    dangle or go in a circle, or when all specs together become too large.
    """
    for spec in requested:
        faults = check_spec(spec)
        if faults:
            raise InvalidInput(f"cannot accept workload «{spec.name}»: {'; '.join(faults)}")
    wanted = {spec.name: spec for spec in requested}
    if len(wanted) < len(requested):
        raise InvalidInput(f"cannot apply: {'; '.join(check_set(requested))}. Remove one.")
    gone = sorted(held.keys() - wanted.keys()) if prune else []
    kept = {name: spec for name, spec in {**held, **wanted}.items() if name not in gone}
    check_dependencies(kept, frozenset(gone))
    _check_size(held, kept)
    return [
        *(_step(held.get(name), spec) for name, spec in wanted.items()),
        *(Step(name, "delete", spec_difference(held[name], None), held[name]) for name in gone),
    ]


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


def _check_size(held: Mapping[str, WorkloadSpec], kept: Mapping[str, WorkloadSpec]) -> None:
    before, after = _size(held), _size(kept)
    if after > max(before, MAX_SPECS):
        raise Refused(
            f"cannot apply: all workloads together would be described by {format_size(after)}, a hub keeps at most "
            f"{format_size(MAX_SPECS)}. Put what is large into files that the workloads read."
        )


def _size(specs: Mapping[str, WorkloadSpec]) -> int:
    return sum(len(encode(spec)) + _AROUND for spec in specs.values())


def _step(old: WorkloadSpec | None, new: WorkloadSpec) -> Step:
    if old is None:
        return Step(new.name, "create", spec_difference(None, new), new)
    fields = spec_difference(old, new)
    return Step(new.name, "change" if fields or old != new else "unchanged", fields, new)
