"""Desired workloads: apply, roll back, delete, restart, list. The controller decides, this module writes.

The workload, its assignments and their changes are one transaction; nodes are told after its commit.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from sqlalchemy import Connection, delete

from skerry.hub.fleet.assignments import Assignments, Desired, read_nodes, read_workloads
from skerry.hub.fleet.controller import Step, check_dependencies, check_on_nodes, places, plan
from skerry.hub.fleet.models import Models, check_uses, plan_models, read_models, write_models
from skerry.hub.fleet.rollouts import Rollouts, under_way, update_views
from skerry.hub.fleet.sight import EVERYTHING, Sight
from skerry.hub.fleet.versions import Origin, earlier, read_versions, write_version
from skerry.hub.fleet.views import (
    assignment_views,
    device_workload_views,
    find,
    workload_views,
)
from skerry.hub.store import changes, locks
from skerry.hub.store.bodies import WORKLOAD, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, workload
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused
from skerry.wire.codec import encode
from skerry.wire.people import (
    Applied,
    Apply,
    ApplyReply,
    AssignmentView,
    DeviceWorkload,
    Rollback,
    RolledBack,
    UpdateView,
    WorkloadVersion,
    WorkloadView,
)
from skerry.wire.workload import Generation, WorkloadSpec

T = TypeVar("T")


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    reply: T
    news: frozenset[str] = frozenset()


class Workloads:
    """`notify` as in `Nodes`, `last_seen` is theirs. In every answer, nodes are named by their names, not by their ids.

    `by` is who asks; the history of versions keeps it.
    """

    def __init__(  # noqa: PLR0913 - one argument for each part that a change touches
        self,
        store: HubStore,
        assignments: Assignments,
        rollouts: Rollouts,
        clock: Clock,
        notify: Callable[[str], None],
        last_seen: Mapping[str, int],
        *,
        models: Models,
    ) -> None:
        self._store = store
        self._assignments = assignments
        self._rollouts = rollouts
        self._clock = clock
        self._notify = notify
        self._last_seen = last_seen
        self._models = models

    async def apply(self, request: Apply, by: str) -> ApplyReply:
        """Creates and changes models and workloads, and (with prune) deletes workloads; with dry_run only says so.

        Raises InvalidInput (a name twice) or Refused (dangling or cyclic depends_on, a model or its file is not
        there); then nothing changed.
        """
        await self._models.check_blobs(request.models)
        return await self._do(
            lambda connection: self._apply(connection, request, by), dry_run=request.dry_run
        )

    async def rollback(self, name: str, request: Rollback, by: str) -> RolledBack:
        """Makes an earlier version of a workload the wanted one again, deleted workloads included.

        Raises NotFound (workload, version), or Refused when there is no earlier one or its dependencies are gone.
        """
        return await self._do(
            lambda connection: self._rollback(connection, name, request, by),
            dry_run=request.dry_run,
        )

    async def history(self, name: str) -> builtins.list[WorkloadVersion]:
        """The kept versions of a workload, the newest last. Raises NotFound."""
        return await self._store.read(
            lambda connection: _history(connection, name, "show the versions of")
        )

    async def delete(self, name: str, by: str) -> None:
        """Raises NotFound, or Refused when another workload depends on it."""
        await self._do(lambda connection: self._delete(connection, name, by))

    async def restart(self, name: str) -> None:
        """Asks every node that has the workload for a restart. Raises NotFound."""
        await self._do(lambda connection: self._restart(connection, name))

    async def abort(self, name: str, by: str) -> None:
        """Takes a change that is under way back: the workload is again what it was before, by the same waves.

        Raises NotFound, or Refused when none is under way.
        """
        await self._do(lambda connection: self._abort(connection, name, by))

    async def hear_of(self, change: Callable[[Connection], Set[str]]) -> None:
        """Makes a change of what workloads need; those that it returns are written to their nodes again."""

        def work(connection: Connection) -> _Outcome[None]:
            users = change(connection)
            held = read_workloads(connection)
            return _Outcome(None, self._carry_out(connection, held, [], Origin(""), users))

        await self._do(work)

    async def list(self, name: str | None = None) -> builtins.list[WorkloadView]:
        """All workloads, or the one of this name (else NotFound).

        A status is up to date when its generation is not below the view's: each assignment has its own.
        """
        seen, now = dict(self._last_seen), self._clock.wall_ns()
        return await self._store.read(
            lambda connection: _with_updates(
                workload_views(connection, seen, now, name), update_views(connection, seen, now)
            )
        )

    async def of_devices(
        self, sight: Sight, name: str | None = None
    ) -> builtins.list[DeviceWorkload]:
        """What devices that are seen want by themselves."""
        seen, now = dict(self._last_seen), self._clock.wall_ns()
        views = await self._store.read(
            lambda connection: device_workload_views(connection, seen, now, name)
        )
        return sight.device_workloads(views)

    async def seen(self, sight: Sight, name: str | None = None) -> builtins.list[WorkloadView]:
        """As `list`, of what is seen."""
        if sight is EVERYTHING:
            return await self.list(name)
        return sight.workloads(await self.list(), name)

    async def assignments(
        self, workload: str | None = None, node: str | None = None
    ) -> builtins.list[AssignmentView]:
        """What nodes are told, by the names of workload and node. Raises NotFound for an unknown workload."""
        return await self._store.read(
            lambda connection: assignment_views(connection, workload, node)
        )

    async def _do(self, work: Callable[[Connection], _Outcome[T]], *, dry_run: bool = False) -> T:
        if dry_run:
            return (await self._store.read(work)).reply

        def alone(connection: Connection) -> _Outcome[T]:
            locks.of_fleet(connection)
            return work(connection)

        outcome = await self._store.write(alone)
        for node_id in sorted(outcome.news):
            self._notify(node_id)
        self._rollouts.began.ring()
        return outcome.reply

    def _apply(self, connection: Connection, request: Apply, by: str) -> _Outcome[ApplyReply]:
        held = read_workloads(connection)
        steps = plan(_specs(held), request.workloads, prune=request.prune)
        check_on_nodes(steps, read_nodes(connection))
        models = plan_models(read_models(connection), request.models)
        check_uses(request.workloads, models.held)
        reply = ApplyReply(_applied(connection, steps), models.applied)
        if request.dry_run:
            return _Outcome(reply)
        write_models(connection, models.write, self._clock.wall_ns())
        users = {name for name, item in held.items() if models.changed & set(item.spec.models)}
        return _Outcome(reply, self._carry_out(connection, held, steps, Origin(by), users))

    def _rollback(
        self, connection: Connection, name: str, request: Rollback, by: str
    ) -> _Outcome[RolledBack]:
        held = read_workloads(connection)
        current = held[name].spec if name in held else None
        version = earlier(name, _history(connection, name, "roll back"), current, request.to)
        steps = plan(_specs(held), [version.spec], prune=False)
        check_uses([version.spec], read_models(connection))
        check_on_nodes(steps, read_nodes(connection))
        reply = RolledBack(version.number, _applied(connection, steps)[0])
        if request.dry_run:
            return _Outcome(reply)
        return _Outcome(reply, self._carry_out(connection, held, steps, Origin(by, version.number)))

    def _abort(self, connection: Connection, name: str, by: str) -> _Outcome[None]:
        going = under_way(connection, name, "abort")
        held = read_workloads(connection)
        now = held[name]
        if (now.spec, now.restarts) == (going.before, going.restarts):
            raise Refused(
                f"cannot abort the update of workload «{name}»: its spec is what it was before. "
                "It is on its way back already, or a model or secret is another: make that what it was."
            )
        steps = plan(_specs(held), [going.before], prune=False)
        check_uses([going.before], read_models(connection))
        versions = [v for v in read_versions(connection, name) if v.spec == going.before]
        origin = Origin(by, versions[-1].number if versions else None)
        wanted = {name: (going.before, going.restarts)}
        changed, news = self._put(connection, held, wanted)
        self._remember(connection, steps, changed, origin)
        return _Outcome(None, news)

    def _carry_out(
        self,
        connection: Connection,
        held: Mapping[str, Desired],
        steps: Sequence[Step],
        origin: Origin,
        touched: Set[str] = frozenset(),
    ) -> frozenset[str]:
        """`touched` are workloads that are to be written although their specs stay: a model of theirs has changed."""
        deleted = [step.name for step in steps if step.change == "delete"]
        wanted = {name: held[name].spec for name in touched if name not in deleted}
        wanted |= {step.name: step.spec for step in steps if step.change in {"create", "change"}}
        counted = {
            name: (spec, held[name].restarts if name in held else 0)
            for name, spec in wanted.items()
        }
        changed, news = self._put(connection, held, counted, deleted)
        self._remember(connection, steps, changed, origin)
        return news

    def _delete(self, connection: Connection, name: str, by: str) -> _Outcome[None]:
        held = read_workloads(connection)
        gone = find(held, name, "delete")
        kept = {other: item.spec for other, item in held.items() if other != name}
        check_dependencies(kept, {name})
        _, news = self._put(connection, held, {}, [name])
        self._remember(connection, [Step(name, "delete", [], gone.spec)], {}, Origin(by))
        return _Outcome(None, news)

    def _restart(self, connection: Connection, name: str) -> _Outcome[None]:
        held = read_workloads(connection)
        known = find(held, name, "restart")
        _, news = self._put(connection, held, {name: (known.spec, known.restarts + 1)})
        return _Outcome(None, news)

    def _put(
        self,
        connection: Connection,
        held: Mapping[str, Desired],
        wanted: Mapping[str, tuple[WorkloadSpec, int]],
        deleted: Sequence[str] = (),
    ) -> tuple[Mapping[str, Desired], frozenset[str]]:
        """Writes specs and counts of restarts, and what follows for the nodes; returns the ids of those with news."""
        changed = {
            name: self._save(connection, spec, restarts)
            for name, (spec, restarts) in wanted.items()
        }
        _drop(connection, deleted)
        placed = self._assignments.place_workloads(connection, changed, deleted)
        self._rollouts.end(connection, {*changed, *deleted} - placed.waiting.keys())
        for name, untouched in placed.waiting.items():
            self._rollouts.begin(connection, name, held[name], untouched)
        return changed, placed.news

    def _remember(
        self,
        connection: Connection,
        steps: Sequence[Step],
        changed: Mapping[str, Desired],
        origin: Origin,
    ) -> None:
        log, now = changes.read_log(connection), self._clock.wall_ns()
        for step in steps:
            if step.change == "delete":
                write_version(connection, step, Generation(log.epoch, log.seq), origin, now)
            elif step.change != "unchanged":
                write_version(connection, step, changed[step.name].generation, origin, now)

    def _save(self, connection: Connection, spec: WorkloadSpec, restarts: int) -> Desired:
        generation = Generation(changes.read_log(connection).epoch, changes.allot(connection))
        row = {
            "epoch": generation.epoch,
            "generation": generation.n,
            "restarts": restarts,
            "spec": Bodies.of(connection).seal(WORKLOAD, encode(spec), spec.name),
            "updated_at": self._clock.wall_ns(),
        }
        connection.execute(
            insert(connection, workload)
            .values(fleet_id=FLEET, name=spec.name, **row)
            .on_conflict_do_update(index_elements=["fleet_id", "name"], set_=row)
        )
        return Desired(spec, restarts, generation)


def _specs(held: Mapping[str, Desired]) -> dict[str, WorkloadSpec]:
    return {name: item.spec for name, item in held.items()}


def _history(connection: Connection, name: str, verb: str) -> builtins.list[WorkloadVersion]:
    if found := read_versions(connection, name):
        return found
    find(read_workloads(connection), name, verb)
    return []


def _applied(connection: Connection, steps: list[Step]) -> list[Applied]:
    nodes = read_nodes(connection)
    names = {node.id: node.name for node in nodes}
    where: dict[str, list[str]] = {step.name: [] for step in steps}
    for place in places((step.spec for step in steps), nodes):
        where[place.workload].append(names[place.node])
    return [
        Applied(step.name, step.change, step.fields, sorted(where[step.name])) for step in steps
    ]


def _with_updates(
    views: Sequence[WorkloadView], updates: Mapping[str, UpdateView]
) -> builtins.list[WorkloadView]:
    return [msgspec.structs.replace(view, update=updates.get(view.name)) for view in views]


def _drop(connection: Connection, names: Sequence[str]) -> None:
    connection.execute(
        delete(workload).where(workload.c.fleet_id == FLEET, workload.c.name.in_(names))
    )
