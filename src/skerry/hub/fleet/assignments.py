"""Assignments in the database: brings them in line with workloads and nodes, within the caller's transaction.

`Workloads` calls it when a workload changed, `Nodes` when a node came or changed its labels, and
`sync.pull.Feed` when the hub's database turned out to be a restored copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, select, update

from skerry.core.overrides import resolve
from skerry.core.secrets import key_id, names_used
from skerry.hub.fleet.controller import Node, Place, difference, places
from skerry.hub.fleet.models import read_models
from skerry.hub.fleet.safe import Safe
from skerry.hub.fleet.sealing import Sealing
from skerry.hub.store import changes, rows
from skerry.hub.store.bodies import LABELS, STATE, WORKLOAD, Bodies
from skerry.hub.store.tables import FLEET, node, state, workload
from skerry.kit.clock import Clock
from skerry.kit.hlc import HybridClock
from skerry.wire.codec import decode, encode
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


@dataclass(frozen=True)
class Placed:
    """`news` are the ids of nodes that have some.

    `waiting` are the workloads whose change waits for its waves, each with the ids of nodes to which it is no change.
    """

    news: frozenset[str]
    waiting: Mapping[str, frozenset[str]]


class Assignments:
    """Writes assignment rows, each with its change. Lives in the writer's thread. `safe` opens what secrets are locked in."""

    def __init__(self, clock: Clock, safe: Safe) -> None:
        self._clock = clock
        self._safe = safe
        self._hlc = HybridClock(clock)

    def place_workloads(
        self, connection: Connection, desired: Mapping[str, Desired], deleted: Iterable[str] = ()
    ) -> Placed:
        """Writes these new or changed workloads to their nodes and takes `deleted` ones away.

        Where a workload changes in waves, a node that has it as something else is left to its turn.
        """
        nodes = read_nodes(connection)
        wanted = places((item.spec for item in desired.values()), nodes)
        held = read_assignments(connection, workloads=[*desired, *deleted])
        change = difference(wanted, held.keys(), desired.keys())
        wishes = self._wishes(connection, desired, change.write, nodes, held)
        later = {
            place
            for place in change.write & held.keys()
            if changes_in_waves(desired[place.workload].spec)
            and not is_up_to_date(held[place], wishes[place])
        }
        now = {place: wish for place, wish in wishes.items() if place not in later}
        news = self._write(connection, now, change.delete)
        same = (change.write & held.keys()) - later
        return Placed(
            news,
            {
                name: frozenset(place.node for place in same if place.workload == name)
                for name in {place.workload for place in later}
            },
        )

    def place_node(self, connection: Connection, target: Node) -> frozenset[str]:
        """Gives a new or relabelled node what is now meant for it; returns its id if it has news.

        What waits for its wave there goes on waiting.
        """
        desired = read_workloads(connection)
        wanted = places((item.spec for item in desired.values()), [target])
        held = read_assignments(connection, node_id=target.id)
        wishes = self._wishes(connection, desired, wanted, [target], held)
        changed = {
            place.workload
            for place in wanted & held.keys()
            if held[place].generation >= desired[place.workload].generation
            and (held[place].spec, _values(held[place]))
            != (wishes[place].spec, _values(wishes[place]))
        }
        change = difference(wanted, held.keys(), changed)
        now = {place: wishes[place] for place in change.write}
        return self._write(connection, now, change.delete)

    def give(
        self, connection: Connection, name: str, wish: Desired, nodes: Iterable[str]
    ) -> frozenset[str]:
        """Writes a workload to these nodes (by id), whose turn it is; returns them."""
        turn = [Place(node_id, name) for node_id in nodes]
        held = read_assignments(connection, workloads=[name])
        wishes = self._wishes(connection, {name: wish}, turn, read_nodes(connection), held)
        return self._write(connection, wishes)

    def seal_again(self, connection: Connection, target: Node, public: bytes) -> frozenset[str]:
        """Seals what a node needs to the key that it has told; returns its id if it has news.

        What waits for its wave there goes on waiting, so generations stay as they are.
        """
        wanted, sealing = key_id(public), Sealing(connection, self._safe)
        stale = {
            place: held
            for place, held in read_assignments(connection, node_id=target.id).items()
            if any(each.to != wanted for each in held.secrets)
        }
        sealed = {
            place: msgspec.structs.replace(
                held, secrets=sealing.sealed(names_used(held.spec), target, held.secrets)
            )
            for place, held in stale.items()
        }
        news = {place: wish for place, wish in sealed.items() if wish != stale[place]}
        return self._write(connection, news, as_new=False)

    def reissue(self, connection: Connection) -> frozenset[str]:
        """Writes everything again, with the current epoch; returns the ids of the nodes that have news.

        What waits for its wave is written as it was, before the workloads get their new generation, so it goes on
        waiting.
        """
        desired = read_workloads(connection)
        held = read_assignments(connection)
        nodes = read_nodes(connection)
        wanted = places((item.spec for item in desired.values()), nodes)
        change = difference(wanted, held.keys(), desired.keys())
        waiting = {
            place: old
            for place, old in held.items()
            if place in wanted and old.generation < desired[place.workload].generation
        }
        news = self._write(connection, waiting)
        generation = Generation(changes.read_log(connection).epoch, changes.allot(connection))
        connection.execute(
            update(workload)
            .where(workload.c.fleet_id == FLEET)
            .values(epoch=generation.epoch, generation=generation.n)
        )
        todo = change.write - waiting.keys()
        wishes = self._wishes(connection, desired, todo, nodes, held)
        return news | self._write(connection, wishes, change.delete)

    def _write(
        self,
        connection: Connection,
        wishes: Mapping[Place, Assignment],
        unwanted: Set[Place] = frozenset(),
        *,
        as_new: bool = True,
    ) -> frozenset[str]:
        """`as_new`: with a new generation each."""
        todo = sorted({*wishes, *unwanted})
        if not todo:
            return frozenset()
        epoch = changes.read_log(connection).epoch
        first = changes.allot(connection, len(todo))
        hlc, at = self._hlc.tick(), self._clock.wall_ns()
        written = [
            rows.Scoped(
                place.node,
                StateRow(
                    entity=ENTITY,
                    id=place.workload,
                    rev=seq,
                    hlc=hlc,
                    origin=_ORIGIN,
                    deleted=place in unwanted,
                    body=_body(wishes.get(place), Generation(epoch, seq) if as_new else None),
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
        return frozenset(place.node for place in todo)

    def _wishes(
        self,
        connection: Connection,
        desired: Mapping[str, Desired],
        where: Iterable[Place],
        nodes: Iterable[Node],
        held: Mapping[Place, Assignment],
    ) -> dict[Place, Assignment]:
        """What each of these places is to get, with its node's overrides. Generations are given when it is written."""
        models, sealing = read_models(connection), Sealing(connection, self._safe)
        known = {node.id: node for node in nodes}
        wishes = {}
        for place in where:
            wish, target = desired[place.workload], known[place.node]
            spec, before = resolve(wish.spec, target.name, target.labels), held.get(place)
            wishes[place] = Assignment(
                place.workload,
                wish.generation,
                spec,
                wish.restarts,
                [models[name] for name in wish.spec.models],
                sealing.sealed(names_used(spec), target, before.secrets if before else ()),
            )
        return wishes


def changes_in_waves(spec: WorkloadSpec) -> bool:
    """Whether a change of this workload reaches its nodes a few at a time."""
    return spec.update.max_unavailable is not None


def is_up_to_date(held: Assignment, wish: Assignment) -> bool:
    """Whether giving `wish` to a node that has `held` changes nothing there."""
    same = (held.spec, held.models, _values(held)) == (wish.spec, wish.models, _values(wish))
    return same and held.restarts >= wish.restarts


def _values(assignment: Assignment) -> list[tuple[str, str]]:
    """Which values of secrets it has, whatever key they are sealed to."""
    return [(each.name, each.id if not each.why else "") for each in assignment.secrets]


def read_nodes(connection: Connection) -> list[Node]:
    """Every node of the fleet, as placement sees it."""
    query = select(node.c.id, node.c.name, node.c.labels).where(node.c.fleet_id == FLEET)
    bodies = Bodies.of(connection)
    return [
        Node(row.id, row.name, read_labels(bodies, row.id, row.labels))
        for row in connection.execute(query)
    ]


def read_labels(bodies: Bodies, node_id: str, stored: str) -> dict[str, str]:
    """A node's labels, as `node.labels` holds them."""
    return decode(bodies.open_text(LABELS, stored, node_id).encode(), dict[str, str], "labels")


def read_workloads(connection: Connection) -> dict[str, Desired]:
    """Every workload of the fleet, by name."""
    query = select(workload).where(workload.c.fleet_id == FLEET).order_by(workload.c.name)
    bodies = Bodies.of(connection)
    return {
        row.name: Desired(
            decode(
                bodies.open(WORKLOAD, row.spec, row.name), WorkloadSpec, f"workload «{row.name}»"
            ),
            row.restarts,
            Generation(row.epoch, row.generation),
        )
        for row in connection.execute(query)
    }


def read_assignments(
    connection: Connection, *, workloads: list[str] | None = None, node_id: str | None = None
) -> dict[Place, Assignment]:
    """What nodes are told now: all of it, of these workloads, or of one node."""
    query = select(state.c.scope, state.c.id, state.c.body).where(
        state.c.fleet_id == FLEET, state.c.entity == ENTITY, state.c.deleted.is_(False)
    )
    if workloads is not None:
        query = query.where(state.c.id.in_(workloads))
    if node_id is not None:
        query = query.where(state.c.scope == node_id)
    bodies = Bodies.of(connection)
    return {
        Place(row.scope, row.id): decode(
            bodies.open(STATE, row.body, row.scope, ENTITY, row.id),
            Assignment,
            f"assignment of «{row.id}»",
        )
        for row in connection.execute(query)
    }


def _body(wish: Assignment | None, generation: Generation | None) -> msgspec.Raw:
    """Without a new `generation` it keeps its own."""
    if wish is None:
        return msgspec.Raw(b"{}")
    return msgspec.Raw(
        encode(msgspec.structs.replace(wish, generation=generation or wish.generation))
    )
