"""Nodes and workloads as people see them, put together from the database in one snapshot.

What a node reported is true while the node is heard of; every view says when that was, and whether it is too
long ago. When nodes were last heard of comes as `seen` (by node id, ns since 1970), which is fresher than the
database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, select

from skerry.core.specs import difference
from skerry.hub.fleet.assignments import (
    ENTITY,
    Desired,
    read_assignments,
    read_labels,
    read_nodes,
    read_workloads,
)
from skerry.hub.store.bodies import STATE, Bodies
from skerry.hub.store.node_findings import open_findings
from skerry.hub.store.tables import FLEET, node, state
from skerry.kit.clock import NS
from skerry.kit.errors import NotFound
from skerry.kit.nearest import did_you_mean
from skerry.wire.codec import decode
from skerry.wire.people import (
    AssignmentView,
    DeviceWorkload,
    InstanceView,
    NodeView,
    WorkloadView,
)
from skerry.wire.workload import WorkloadStatus

ONLINE_WITHIN = 45.0
"""Seconds without any sign of life after which a node counts as offline."""


DEVICES_EPOCH = 0
"""Of the generations that devices give; the hub's begin with 1."""


class _Key(NamedTuple):
    node_id: str
    workload: str


class Heard(NamedTuple):
    """When a node was last heard of, and what follows from that."""

    at: int
    age: float

    @property
    def online(self) -> bool:
        return self.age < ONLINE_WITHIN


def node_views(connection: Connection, seen: Mapping[str, int], now: int) -> list[NodeView]:
    """Every node, by name, as of `now` (ns since 1970)."""
    assigned = _assigned(connection)
    statuses = _statuses(connection)
    counts: dict[str, tuple[int, int]] = {}
    for key in assigned:
        status = statuses.get(key)
        total, running = counts.get(key.node_id, (0, 0))
        runs = status is not None and status.phase == "running"
        counts[key.node_id] = (total + 1, running + runs)
    views = []
    bodies, findings = Bodies.of(connection), open_findings(connection)
    query = select(node).where(node.c.fleet_id == FLEET).order_by(node.c.name)
    for row in connection.execute(query):
        known = heard(row.id, row.last_seen, seen, now)
        total, running = counts.get(row.id, (0, 0))
        views.append(
            NodeView(
                id=row.id,
                name=row.name,
                labels=read_labels(bodies, row.id, row.labels),
                online=known.online,
                last_seen=known.at,
                age=known.age,
                version=row.version,
                enrolled_at=row.enrolled_at,
                workloads=total,
                running=running,
                problem=_of_log(row.name, findings.get(row.id, "")),
            )
        )
    return views


def _of_log(name: str, finding: str) -> str:
    if not finding:
        return ""
    return (
        f"its audit log contradicts what was kept of it: {finding}. A restored backup or a copied directory does that, and so "
        f"does whoever hides something. skerry audit verify --node {name} --anew when it is explained."
    )


def workload_views(
    connection: Connection, seen: Mapping[str, int], now: int, name: str | None
) -> list[WorkloadView]:
    """Every workload, or the one of this name, as it is on its nodes. Raises NotFound."""
    desired = read_workloads(connection)
    if name is not None:
        desired = {name: find(desired, name, "show")}
    query = select(node.c.id, node.c.name, node.c.last_seen)
    known = {
        row.id: (row.name, heard(row.id, row.last_seen, seen, now))
        for row in connection.execute(query)
    }
    statuses = _statuses(connection, name)
    nodes: dict[str, dict[str, InstanceView]] = {each: {} for each in desired}
    for key in _assigned(connection, name):
        if key.workload in nodes and key.node_id in known:
            node_name, last = known[key.node_id]
            nodes[key.workload][node_name] = InstanceView(
                statuses.get(key), last.online, last.at, last.age
            )
    return [
        WorkloadView(
            name=each,
            generation=item.generation,
            spec=item.spec,
            restarts=item.restarts,
            nodes=dict(sorted(nodes[each].items())),
        )
        for each, item in desired.items()
    ]


def device_workload_views(
    connection: Connection, seen: Mapping[str, int], now: int, name: str | None = None
) -> list[DeviceWorkload]:
    """What devices tell of workloads of their own, by name; of this name alone where one is given."""
    query = _not_assigned().order_by(state.c.id, node.c.name)
    found: dict[str, dict[str, InstanceView]] = {}
    for row, status in _own(connection, query if name is None else query.where(state.c.id == name)):
        last = heard(row.node, row.last_seen, seen, now)
        instance = InstanceView(status, last.online, last.at, last.age)
        found.setdefault(row.id, {})[row.name] = instance
    return [DeviceWorkload(each, nodes) for each, nodes in found.items()]


def own_statuses(connection: Connection, node_id: str) -> list[WorkloadStatus]:
    """What one device tells of workloads of its own, by their names."""
    query = _not_assigned().where(state.c.scope == node_id).order_by(state.c.id)
    return [status for _, status in _own(connection, query)]


def _not_assigned() -> Select[Any]:
    """The statuses of workloads that their nodes were not told to have."""
    given = state.alias()
    is_given = select(given.c.id).where(
        given.c.fleet_id == state.c.fleet_id,
        given.c.scope == state.c.scope,
        given.c.entity == ENTITY,
        given.c.id == state.c.id,
        given.c.deleted.is_(False),
    )
    return (
        select(node.c.id.label("node"), node.c.name, node.c.last_seen, state.c.id, state.c.body)
        .join(node, node.c.id == state.c.scope)
        .where(
            state.c.fleet_id == FLEET,
            state.c.entity == "status",
            state.c.deleted.is_(False),
            ~is_given.exists(),
        )
    )


def _own(
    connection: Connection, query: Select[Any]
) -> Iterator[tuple[Row[tuple[Any, ...]], WorkloadStatus]]:
    """What ends after its assignment went is none of the device's: its generation begins with the hub's epoch."""
    bodies = Bodies.of(connection)
    for row in connection.execute(query):
        body = bodies.open(STATE, row.body, row.node, "status", row.id)
        status = decode(body, WorkloadStatus, f"status of «{row.id}»")
        if status.generation.epoch == DEVICES_EPOCH:
            yield row, status


def assignment_views(
    connection: Connection, workload: str | None, node_name: str | None
) -> list[AssignmentView]:
    """What nodes are told now. Raises NotFound for a workload that does not exist."""
    desired = read_workloads(connection)
    if workload is not None:
        desired = {workload: find(desired, workload, "show")}
    names = {each.id: each.name for each in read_nodes(connection)}
    held = read_assignments(connection, workloads=list(desired))
    found = [
        AssignmentView(
            node=names[place.node],
            workload=place.workload,
            generation=given.generation,
            spec=given.spec,
            restarts=given.restarts,
            fields=difference(replace(desired[place.workload].spec, overrides=[]), given.spec),
        )
        for place, given in held.items()
        if place.node in names and node_name in {None, names[place.node]}
    ]
    return sorted(found, key=lambda each: (each.workload, each.node))


def find(desired: Mapping[str, Desired], name: str, verb: str) -> Desired:
    """The workload of this name. Raises NotFound with the nearest name."""
    if name in desired:
        return desired[name]
    hint = f" {did_you_mean(name, desired.keys())}" if desired else " there are none yet"
    raise NotFound(f"cannot {verb} workload «{name}»: it does not exist;{hint}")


def heard(node_id: str, written: int, seen: Mapping[str, int], now: int) -> Heard:
    """When a node was last heard of: `written` is what the database says, `seen` what memory does."""
    at = max(written, seen.get(node_id, 0))
    return Heard(at, max(now - at, 0) / NS)


def _assigned(connection: Connection, workload: str | None = None) -> list[_Key]:
    query = select(state.c.scope, state.c.id).where(
        state.c.fleet_id == FLEET, state.c.entity == ENTITY, state.c.deleted.is_(False)
    )
    if workload is not None:
        query = query.where(state.c.id == workload)
    return [_Key(row.scope, row.id) for row in connection.execute(query)]


def _statuses(connection: Connection, workload: str | None = None) -> dict[_Key, WorkloadStatus]:
    query = select(state.c.scope, state.c.id, state.c.body).where(
        state.c.fleet_id == FLEET, state.c.entity == "status", state.c.deleted.is_(False)
    )
    if workload is not None:
        query = query.where(state.c.id == workload)
    bodies = Bodies.of(connection)
    return {
        _Key(row.scope, row.id): decode(
            bodies.open(STATE, row.body, row.scope, "status", row.id),
            WorkloadStatus,
            f"status of «{row.id}»",
        )
        for row in connection.execute(query)
    }
