"""Assignments in the database: brings them in line with workloads and nodes, within the caller's transaction.

`Workloads` calls it when a workload changed, `Nodes` when a node came or changed its labels, and
`sync.pull.Feed` when the hub's database turned out to be a restored copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, select, update

from skerry.hub.fleet.controller import Difference, Node, Place, difference, places
from skerry.hub.fleet.models import read_models
from skerry.hub.store import changes, rows
from skerry.hub.store.tables import FLEET, node, state, workload
from skerry.kit.clock import Clock
from skerry.kit.hlc import HybridClock
from skerry.wire.codec import decode, encode
from skerry.wire.models import ModelSpec
from skerry.wire.sync import StateRow
from skerry.wire.workload import Assignment, Generation, WorkloadSpec

ENTITY = "assignment"
_ORIGIN = "hub"


@dataclass(frozen=True)
class Desired:
    """A workload as people want it."""

    spec: WorkloadSpec
    restarts: int
    generation: Generation


class Assignments:
    """Writes assignment rows, each with its change. Lives in the writer's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hlc = HybridClock(clock)

    def place_workloads(
        self, connection: Connection, desired: Mapping[str, Desired], deleted: Iterable[str] = ()
    ) -> set[str]:
        """Writes these new or changed workloads to their nodes and takes `deleted` ones away.

        Returns the ids of the nodes that have news.
        """
        wanted = places((item.spec for item in desired.values()), read_nodes(connection))
        held = _held(connection, workloads=[*desired, *deleted])
        return self._write(connection, difference(wanted, held, desired.keys()), desired)

    def place_node(self, connection: Connection, target: Node) -> set[str]:
        """Gives a new or relabelled node what is now meant for it; returns its id if it has news."""
        desired = read_workloads(connection)
        wanted = places((item.spec for item in desired.values()), [target])
        held = _held(connection, node_id=target.id)
        return self._write(connection, difference(wanted, held, frozenset()), desired)

    def reissue(self, connection: Connection) -> set[str]:
        """Writes everything again, with the current epoch; returns the ids of the nodes that have news."""
        generation = Generation(changes.read_log(connection).epoch, changes.allot(connection))
        connection.execute(
            update(workload)
            .where(workload.c.fleet_id == FLEET)
            .values(epoch=generation.epoch, generation=generation.n)
        )
        return self.place_workloads(connection, read_workloads(connection))

    def _write(
        self, connection: Connection, change: Difference, desired: Mapping[str, Desired]
    ) -> set[str]:
        todo = sorted(change.write | change.delete)
        if not todo:
            return set()
        epoch = changes.read_log(connection).epoch
        first = changes.allot(connection, len(todo))
        hlc, at = self._hlc.tick(), self._clock.wall_ns()
        models = read_models(connection)
        written = [
            rows.Scoped(
                place.node,
                StateRow(
                    entity=ENTITY,
                    id=place.workload,
                    rev=seq,
                    hlc=hlc,
                    origin=_ORIGIN,
                    deleted=place in change.delete,
                    body=_body(place, change, desired, models, Generation(epoch, seq)),
                ),
            )
            for seq, place in enumerate(todo, first)
        ]
        rows.write(connection, written, at)
        changes.append(
            connection,
            [
                changes.Change(item.row.rev, item.scope, ENTITY, item.row.id, _ORIGIN)
                for item in written
            ],
            at,
        )
        return {place.node for place in todo}


def read_nodes(connection: Connection) -> list[Node]:
    """Every node of the fleet, as placement sees it."""
    query = select(node.c.id, node.c.name, node.c.labels).where(node.c.fleet_id == FLEET)
    return [
        Node(row.id, row.name, decode(row.labels.encode(), dict[str, str], "labels"))
        for row in connection.execute(query)
    ]


def read_workloads(connection: Connection) -> dict[str, Desired]:
    """Every workload of the fleet, by name."""
    query = select(workload).where(workload.c.fleet_id == FLEET).order_by(workload.c.name)
    return {
        row.name: Desired(
            decode(row.spec, WorkloadSpec, f"workload «{row.name}»"),
            row.restarts,
            Generation(row.epoch, row.generation),
        )
        for row in connection.execute(query)
    }


def _held(
    connection: Connection, *, workloads: list[str] | None = None, node_id: str | None = None
) -> frozenset[Place]:
    query = select(state.c.scope, state.c.id).where(
        state.c.fleet_id == FLEET, state.c.entity == ENTITY, state.c.deleted.is_(False)
    )
    if workloads is not None:
        query = query.where(state.c.id.in_(workloads))
    if node_id is not None:
        query = query.where(state.c.scope == node_id)
    return frozenset(Place(row.scope, row.id) for row in connection.execute(query))


def _body(
    place: Place,
    change: Difference,
    desired: Mapping[str, Desired],
    models: Mapping[str, ModelSpec],
    generation: Generation,
) -> msgspec.Raw:
    if place in change.delete:
        return msgspec.Raw(b"{}")
    wanted = desired[place.workload]
    needed = [models[name] for name in wanted.spec.models]
    return msgspec.Raw(
        encode(Assignment(place.workload, generation, wanted.spec, wanted.restarts, needed))
    )
