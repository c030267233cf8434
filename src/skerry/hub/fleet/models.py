"""Models at the hub: what they are, who names them. `fleet.workloads` applies them together with workloads.

A model travels to nodes inside the assignments of the workloads that name it, so a node needs no second thing to
wait for, and a change of a model reaches it as a change of those assignments.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from skerry.core.models import check_model, model_difference
from skerry.hub.ports import Blobs
from skerry.hub.store import locks
from skerry.hub.store.bodies import MODEL, WORKLOAD, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, model, workload
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, NotFound, Refused
from skerry.kit.nearest import did_you_mean
from skerry.wire.codec import decode, encode
from skerry.wire.models import MAX_NAMED, ModelSpec, ModelView, NamedModels
from skerry.wire.people import Applied, Change
from skerry.wire.workload import WorkloadSpec

UPLOAD_TIME = 86_400 * NS
"""A blob that no model names is kept for so long: its model may still be on its way."""


@dataclass(frozen=True)
class ModelPlan:
    """What applying models means: `held` is every model afterwards, `changed` those whose users must hear of it."""

    applied: list[Applied]
    write: list[ModelSpec]
    held: Mapping[str, ModelSpec]
    changed: Set[str]


def plan_models(held: Mapping[str, ModelSpec], requested: list[ModelSpec]) -> ModelPlan:
    """Pure. Raises InvalidInput when one is wrong or is there twice."""
    for spec in requested:
        if faults := check_model(spec):
            raise InvalidInput(f"cannot accept model «{spec.name}»: {'; '.join(faults)}")
    wanted = {spec.name: spec for spec in requested}
    if len(wanted) < len(requested):
        raise InvalidInput("cannot apply: a model is there twice. Remove one.")
    write = [spec for name, spec in wanted.items() if held.get(name) != spec]
    applied = [
        Applied(name, _change(held.get(name), spec), model_difference(held.get(name), spec), [])
        for name, spec in wanted.items()
    ]
    changed = {spec.name for spec in write if spec.name in held}
    return ModelPlan(applied, write, {**held, **wanted}, changed)


def check_uses(specs: Iterable[WorkloadSpec], models: Mapping[str, ModelSpec]) -> None:
    """Raises Refused when a workload names a model that does not exist."""
    for spec in specs:
        for name in spec.models:
            if name not in models:
                hint = did_you_mean(name, models.keys()) if models else "there are none yet"
                raise Refused(
                    f"cannot accept workload «{spec.name}»: it needs model «{name}», which does not exist; {hint}"
                )


def read_models(connection: Connection) -> dict[str, ModelSpec]:
    """Every model of the fleet, by name."""
    query = select(model).where(model.c.fleet_id == FLEET).order_by(model.c.name)
    bodies = Bodies.of(connection)
    return {
        row.name: decode(bodies.open(MODEL, row.spec, row.name), ModelSpec, f"model «{row.name}»")
        for row in connection.execute(query)
    }


def write_models(connection: Connection, specs: Iterable[ModelSpec], at: int) -> None:
    """Inserts or replaces models. `at` is in ns since 1970."""
    bodies = Bodies.of(connection)
    for spec in specs:
        row = {"spec": bodies.seal(MODEL, encode(spec), spec.name), "updated_at": at}
        connection.execute(
            insert(connection, model)
            .values(fleet_id=FLEET, name=spec.name, **row)
            .on_conflict_do_update(index_elements=["fleet_id", "name"], set_=row)
        )


class Models:
    """Lists and deletes models; keeps the blobs that they name, and no others for long."""

    def __init__(self, store: HubStore, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def check_blobs(self, specs: Iterable[ModelSpec]) -> None:
        """Raises Refused when the hub is to be the source of a file that it does not have."""
        for spec in specs:
            for file in spec.files if spec.source.hub else ():
                found = await self._blobs.size(file.sha256)
                if found != file.size:
                    has = "does not have it" if found is None else f"has it with {found} bytes"
                    raise Refused(
                        f"cannot accept model «{spec.name}»: its source is the hub, which for «{file.name}» "
                        f"{has}. Upload it: skerry model push FILE --name {spec.name}"
                    )

    async def list(self, name: str | None = None) -> builtins.list[ModelView]:
        """All models, or the one of this name (else NotFound)."""
        return await self._store.read(lambda connection: _views(connection, name))

    async def named(self, names: builtins.list[str]) -> NamedModels:
        """Which of these there are, and which not. Raises InvalidInput when there are more than MAX_NAMED."""
        if len(names) > MAX_NAMED:
            raise InvalidInput(
                f"cannot answer for {len(names)} models: ask for at most {MAX_NAMED}"
            )
        held = await self._store.read(read_models)
        wanted = sorted(set(names))
        found = [held[name] for name in wanted if name in held]
        return NamedModels(found, [name for name in wanted if name not in held])

    async def delete(self, name: str) -> None:
        """Raises NotFound, or Refused when a workload names it."""
        await self._store.write(lambda connection: _delete(connection, name))

    async def sweep(self) -> int:
        """Removes blobs that no model names and that were uploaded long ago; returns how many."""
        held = await self._store.read(read_models)
        keep = {file.sha256 for spec in held.values() for file in spec.files}
        return await self._blobs.sweep(keep, self._clock.wall_ns() - UPLOAD_TIME)


def _change(old: ModelSpec | None, new: ModelSpec) -> Change:
    if old is None:
        return "create"
    return "unchanged" if old == new else "change"


def _users(connection: Connection) -> dict[str, builtins.list[str]]:
    query = select(workload.c.name, workload.c.spec).where(workload.c.fleet_id == FLEET)
    bodies = Bodies.of(connection)
    users: dict[str, builtins.list[str]] = {}
    for row in connection.execute(query.order_by(workload.c.name)):
        spec = bodies.open(WORKLOAD, row.spec, row.name)
        for name in decode(spec, WorkloadSpec, f"workload «{row.name}»").models:
            users.setdefault(name, []).append(row.name)
    return users


def _views(connection: Connection, name: str | None) -> builtins.list[ModelView]:
    users = _users(connection)
    query = select(model).where(model.c.fleet_id == FLEET).order_by(model.c.name)
    bodies = Bodies.of(connection)
    views = [
        ModelView(
            row.name,
            decode(bodies.open(MODEL, row.spec, row.name), ModelSpec, f"model «{row.name}»"),
            users.get(row.name, []),
            row.updated_at,
        )
        for row in connection.execute(query)
    ]
    if name is not None:
        _must_exist(name, [view.name for view in views], "show")
    return [view for view in views if name in {None, view.name}]


def _delete(connection: Connection, name: str) -> None:
    locks.of_fleet(connection)
    _must_exist(name, list(read_models(connection)), "delete")
    if users := _users(connection).get(name):
        raise Refused(
            f"cannot delete model «{name}»: {', '.join(users)} need it. Change or delete them first."
        )
    connection.execute(delete(model).where(model.c.fleet_id == FLEET, model.c.name == name))


def _must_exist(name: str, known: builtins.list[str], verb: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known) if known else "there are none yet"
        raise NotFound(f"cannot {verb} model «{name}»: it does not exist; {hint}")
