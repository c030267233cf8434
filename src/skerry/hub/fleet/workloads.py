"""Desired workloads: apply, delete, restart, list. The controller decides, this module writes.

The workload, its assignments and their changes are one transaction; nodes are told after its commit.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete

from skerry.hub.fleet.assignments import Assignments, Desired, read_nodes, read_workloads
from skerry.hub.fleet.controller import Step, check_dependencies, places, plan
from skerry.hub.fleet.models import Models, check_uses, plan_models, read_models, write_models
from skerry.hub.fleet.views import find, workload_views
from skerry.hub.store import changes
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, workload
from skerry.kit.clock import Clock
from skerry.wire.codec import encode
from skerry.wire.people import Applied, Apply, ApplyReply, WorkloadView
from skerry.wire.workload import Generation, WorkloadSpec


@dataclass(frozen=True)
class _Outcome:
    reply: ApplyReply
    news: frozenset[str] = frozenset()


class Workloads:
    """`notify` as in `Nodes`, `last_seen` is theirs. In every answer, nodes are named by their names, not by their ids."""

    def __init__(
        self,
        store: HubStore,
        assignments: Assignments,
        clock: Clock,
        notify: Callable[[str], None],
        last_seen: Mapping[str, int],
        models: Models,
    ) -> None:
        self._store = store
        self._assignments = assignments
        self._clock = clock
        self._notify = notify
        self._last_seen = last_seen
        self._models = models

    async def apply(self, request: Apply) -> ApplyReply:
        """Creates and changes models and workloads, and (with prune) deletes workloads; with dry_run only says so.

        Raises InvalidInput (a name twice) or Refused (dangling or cyclic depends_on, a model or its file is not
        there); then nothing changed.
        """
        await self._models.check_blobs(request.models)
        if request.dry_run:
            return await self._store.read(lambda connection: self._apply(connection, request).reply)
        outcome = await self._store.write(lambda connection: self._apply(connection, request))
        self._tell(outcome.news)
        return outcome.reply

    async def delete(self, name: str) -> None:
        """Raises NotFound, or Refused when another workload depends on it."""
        self._tell(await self._store.write(lambda connection: self._delete(connection, name)))

    async def restart(self, name: str) -> None:
        """Asks every node that has the workload for a restart. Raises NotFound."""
        self._tell(await self._store.write(lambda connection: self._restart(connection, name)))

    async def list(self, name: str | None = None) -> builtins.list[WorkloadView]:
        """All workloads, or the one of this name (else NotFound).

        A status is up to date when its generation is not below the view's: each assignment has its own.
        """
        seen, now = dict(self._last_seen), self._clock.wall_ns()
        return await self._store.read(
            lambda connection: workload_views(connection, seen, now, name)
        )

    def _tell(self, nodes: frozenset[str]) -> None:
        for node_id in sorted(nodes):
            self._notify(node_id)

    def _apply(self, connection: Connection, request: Apply) -> _Outcome:
        held = read_workloads(connection)
        specs = {name: item.spec for name, item in held.items()}
        steps = plan(specs, request.workloads, prune=request.prune)
        models = plan_models(read_models(connection), request.models)
        check_uses(request.workloads, models.held)
        reply = ApplyReply(_applied(connection, steps), models.applied)
        if request.dry_run:
            return _Outcome(reply)
        write_models(connection, models.write, self._clock.wall_ns())
        deleted = [step.name for step in steps if step.change == "delete"]
        restarts = {name: item.restarts for name, item in held.items()}
        wanted = {
            name: spec
            for name, spec in specs.items()
            if name not in deleted and models.changed & set(spec.models)
        }
        wanted |= {step.name: step.spec for step in steps if step.change in {"create", "change"}}
        changed = {
            name: self._save(connection, spec, restarts.get(name, 0))
            for name, spec in wanted.items()
        }
        _drop(connection, deleted)
        news = self._assignments.place_workloads(connection, changed, deleted)
        return _Outcome(reply, frozenset(news))

    def _delete(self, connection: Connection, name: str) -> frozenset[str]:
        held = read_workloads(connection)
        find(held, name, "delete")
        kept = {other: item.spec for other, item in held.items() if other != name}
        check_dependencies(kept, {name})
        _drop(connection, [name])
        return frozenset(self._assignments.place_workloads(connection, {}, [name]))

    def _restart(self, connection: Connection, name: str) -> frozenset[str]:
        held = find(read_workloads(connection), name, "restart")
        desired = self._save(connection, held.spec, held.restarts + 1)
        return frozenset(self._assignments.place_workloads(connection, {name: desired}))

    def _save(self, connection: Connection, spec: WorkloadSpec, restarts: int) -> Desired:
        generation = Generation(changes.read_log(connection).epoch, changes.allot(connection))
        row = {
            "epoch": generation.epoch,
            "generation": generation.n,
            "restarts": restarts,
            "spec": encode(spec),
            "updated_at": self._clock.wall_ns(),
        }
        connection.execute(
            insert(connection, workload)
            .values(fleet_id=FLEET, name=spec.name, **row)
            .on_conflict_do_update(index_elements=["fleet_id", "name"], set_=row)
        )
        return Desired(spec, restarts, generation)


def _applied(connection: Connection, steps: list[Step]) -> list[Applied]:
    nodes = read_nodes(connection)
    names = {node.id: node.name for node in nodes}
    where: dict[str, list[str]] = {step.name: [] for step in steps}
    for place in places((step.spec for step in steps), nodes):
        where[place.workload].append(names[place.node])
    return [
        Applied(step.name, step.change, step.fields, sorted(where[step.name])) for step in steps
    ]


def _drop(connection: Connection, names: list[str]) -> None:
    connection.execute(
        delete(workload).where(workload.c.fleet_id == FLEET, workload.c.name.in_(names))
    )
