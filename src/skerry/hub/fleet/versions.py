"""What workloads were told to be: a bounded history of their specs, for `skerry history` and `skerry rollback`.

`fleet.workloads` writes a version with each change, in the change's own transaction. The versions of a deleted
workload stay, so that it can be brought back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, select

from skerry.core.specs import difference
from skerry.hub.fleet.controller import Step
from skerry.hub.store.bodies import VERSION, Bodies
from skerry.hub.store.tables import FLEET, workload, workload_version
from skerry.kit.errors import NotFound, Refused
from skerry.wire.codec import decode, encode
from skerry.wire.people import WorkloadVersion
from skerry.wire.workload import Generation, WorkloadSpec

KEPT: Final = 20
"""Versions of one workload."""

KEPT_DELETED: Final = 100
"""Deleted workloads whose versions stay, the last deleted first."""

_ITS = workload_version.c


@dataclass(frozen=True)
class Origin:
    """Who wanted a change, and of a rollback the version that was taken."""

    by: str
    version: int | None = None


def earlier(
    name: str, versions: Sequence[WorkloadVersion], current: WorkloadSpec | None, to: int | None
) -> WorkloadVersion:
    """Version `to`, or the newest one that differs from `current` (None: the workload is deleted). Pure.

    Raises NotFound or Refused.
    """
    if to is None:
        found = [each for each in versions if each.change != "delete" and each.spec != current]
        if found:
            return found[-1]
        raise Refused(f"cannot roll back workload «{name}»: the hub knows no earlier version of it")
    for each in versions:
        if each.number == to:
            return each
    known = f"{versions[0].number} to {versions[-1].number}" if versions else "none"
    raise NotFound(
        f"cannot roll back workload «{name}»: there is no version {to}; the hub keeps {known}. "
        f"See: skerry history workload {name}"
    )


def read_versions(connection: Connection, name: str) -> list[WorkloadVersion]:
    """The kept versions, the newest last."""
    query = select(workload_version).where(_ITS.fleet_id == FLEET, _ITS.name == name)
    bodies = Bodies.of(connection)
    found: list[WorkloadVersion] = []
    for row in connection.execute(query.order_by(_ITS.number)):
        plain = bodies.open(VERSION, row.spec, name, row.number)
        spec = decode(plain, WorkloadSpec, f"version {row.number} of workload «{name}»")
        before = found[-1].spec if found and found[-1].change != "delete" else None
        found.append(
            WorkloadVersion(
                number=row.number,
                at=row.at,
                by=row.who,
                change=row.change,
                generation=Generation(row.epoch, row.generation),
                spec=spec,
                fields=difference(before, None if row.change == "delete" else spec),
                to=row.source,
            )
        )
    return found


def write_version(
    connection: Connection, step: Step, generation: Generation, origin: Origin, at: int
) -> None:
    """Adds a version and drops the oldest one that is too many. `at` is in ns since 1970."""
    its = (_ITS.fleet_id == FLEET, _ITS.name == step.name)
    newest = connection.execute(select(func.max(_ITS.number)).where(*its)).scalar() or 0
    rolled_back = origin.version is not None
    connection.execute(
        workload_version.insert(),
        {
            "fleet_id": FLEET,
            "name": step.name,
            "number": newest + 1,
            "epoch": generation.epoch,
            "generation": generation.n,
            "at": at,
            "who": origin.by,
            "change": "rollback" if rolled_back else step.change,
            "source": origin.version,
            "spec": Bodies.of(connection).seal(VERSION, encode(step.spec), step.name, newest + 1),
        },
    )
    connection.execute(delete(workload_version).where(*its, _ITS.number <= newest + 1 - KEPT))
    if step.change == "delete":
        _forget_long_deleted(connection)


def _forget_long_deleted(connection: Connection) -> None:
    there = select(workload.c.name).where(workload.c.fleet_id == FLEET)
    deleted = (
        select(_ITS.name)
        .where(_ITS.fleet_id == FLEET, _ITS.name.not_in(there))
        .group_by(_ITS.name)
        .order_by(func.max(_ITS.at).desc(), _ITS.name)
    )
    names = connection.execute(deleted).scalars().all()[KEPT_DELETED:]
    if names:
        connection.execute(
            delete(workload_version).where(_ITS.fleet_id == FLEET, _ITS.name.in_(names))
        )
