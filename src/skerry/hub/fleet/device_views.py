"""Devices as people see them, put together in one snapshot from nodes, from rows of `device`, and from what nodes told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Table, or_, select

from skerry.core.device_states import AS_WANTED, DeviceFacts, Told, state_of
from skerry.core.roles import Role
from skerry.hub.fleet.assignments import ENTITY, read_labels
from skerry.hub.fleet.covering import covers_nodes, nodes_for
from skerry.hub.fleet.views import heard
from skerry.hub.store.bodies import STATE, Bodies
from skerry.hub.store.device_tables import device
from skerry.hub.store.tables import FLEET, node, state
from skerry.kit.errors import NotFound
from skerry.kit.nearest import did_you_mean
from skerry.wire.codec import decode
from skerry.wire.devices import DeviceView
from skerry.wire.workload import Generation, NodeInfo

_TOLD = "status"
_ABOUT_ITSELF = "node"

Found = Row[tuple[object, ...]]


class _Given(msgspec.Struct, frozen=True):
    """Of an assignment, what matters here."""

    generation: Generation


class _Known(NamedTuple):
    """What is in the database of one device, besides its rows of `node` and `device`."""

    wanted: dict[str, Generation]
    told: dict[str, Told]
    info: NodeInfo | None


_NOTHING = _Known({}, {}, None)


def device_views(
    connection: Connection, seen: Mapping[str, int], now: int, only: Collection[str] | None = None
) -> list[DeviceView]:
    """Every device, or those of these ids, by name; those that are out of service, too. As of `now` (ns since 1970)."""
    nodes = _rows_of(connection, node, only)
    devices = _rows_of(connection, device, only)
    known = _read_known(connection, only)
    bodies = Bodies.of(connection)
    views = []
    for device_id in {**nodes, **devices}:
        its, labels = known.get(device_id, _NOTHING), {}
        if device_id in nodes:
            labels = read_labels(bodies, device_id, nodes[device_id].labels)
        views.append(
            _view(
                nodes.get(device_id),
                devices.get(device_id),
                its,
                labels,
                _Moment(seen, now),
            )
        )
    return sorted(views, key=lambda view: (view.name, view.decided_at, view.id))


class Outline(NamedTuple):
    """Of a device, what it is found and ordered by, without what it has told."""

    id: str
    name: str
    labels: dict[str, str]
    last_seen: int
    registered_at: int
    version: str


def device_outlines(connection: Connection, seen: Mapping[str, int]) -> list[Outline]:
    """Every device."""
    nodes, devices = _rows_of(connection, node, None), _rows_of(connection, device, None)
    bodies = Bodies.of(connection)
    found = []
    for device_id in {**nodes, **devices}:
        row, registered = nodes.get(device_id), devices.get(device_id)
        one = registered if row is None else row
        assert one is not None  # noqa: S101 - it is one of the two
        labels = {} if row is None else read_labels(bodies, device_id, row.labels)
        at = max(one.last_seen, seen.get(device_id, 0))
        since = one.enrolled_at if registered is None else registered.registered_at
        found.append(Outline(device_id, one.name, labels, at, since, one.version))
    return sorted(found, key=lambda each: (each.name, each.id))


def find_device(connection: Connection, name: str, verb: str, role: Role | None) -> str:
    """The id of the device of this id or name; of several of one name, the one in service, or the last that was.

    Raises NotFound with the nearest name, in the same words for one that there is not and one that the role is not for.
    """
    found = _named(connection, name)
    if found is not None and covers_nodes(connection, role, [found]):
        return found
    if role is not None and role.scoped:
        known = [each.name for each in nodes_for(connection, role)]
    else:
        names = select(node.c.name).union(select(device.c.name).where(_in_service()))
        known = [row.name for row in connection.execute(names)]
    hint = did_you_mean(name, known) if known else "there are none yet"
    raise NotFound(f"cannot {verb} device «{name}»: it does not exist; {hint}")


def _named(connection: Connection, name: str) -> str | None:
    by_id = _ids(connection, node.c.id == name, device.c.id == name)
    if by_id:
        return by_id[0]
    alive = _ids(connection, node.c.name == name, (device.c.name == name) & _in_service())
    if alive:
        return alive[0]
    gone = select(device.c.id).where(device.c.fleet_id == FLEET, device.c.name == name)
    return connection.execute(gone.order_by(device.c.ended_at.desc()).limit(1)).scalar()


def _in_service() -> ColumnElement[bool]:
    return device.c.decision != "decommissioned"


def _ids(
    connection: Connection, of_node: ColumnElement[bool], of_device: ColumnElement[bool]
) -> list[str]:
    first = select(node.c.id).where(node.c.fleet_id == FLEET, of_node)
    second = select(device.c.id).where(device.c.fleet_id == FLEET, of_device)
    return [row.id for query in (first, second) for row in connection.execute(query)]


class _Moment(NamedTuple):
    seen: Mapping[str, int]
    now: int


def _view(
    row: Found | None,
    registered: Found | None,
    known: _Known,
    labels: dict[str, str],
    moment: _Moment,
) -> DeviceView:
    facts = DeviceFacts(
        enrolled=row is not None,
        described=known.info is not None,
        wanted=known.wanted,
        told=known.told,
        decision=registered.decision if registered is not None else "",
    )
    one = row if row is not None else registered
    assert one is not None  # noqa: S101 - it is one of the two
    last = heard(one.id, one.last_seen, moment.seen, moment.now)
    running = sum(known.told[each].phase in AS_WANTED for each in known.told.keys() & known.wanted)
    view = DeviceView(
        id=one.id,
        name=one.name,
        state=state_of(facts),
        ip_address=(registered.ip_address if registered is not None else "") or "",
        ssh_user=(registered.ssh_user if registered is not None else "") or "",
        labels=labels,
        online=row is not None and last.online,
        last_seen=last.at,
        age=last.age if last.at else None,
        version=one.version,
        registered_at=registered.registered_at if registered is not None else one.enrolled_at,
        enrolled_at=one.enrolled_at,
        workloads=len(known.wanted),
        running=running,
        fingerprint="" if row is None else row.fingerprint,
    )
    if known.info is not None:
        view = _with_info(view, known.info)
    if registered is None:
        return view
    return msgspec.structs.replace(
        view,
        decided_at=registered.decided_at,
        decided_by=registered.decided_by,
        reason=registered.reason,
        ended_at=registered.ended_at,
        erased=registered.erased_at > 0,
    )


def _with_info(view: DeviceView, info: NodeInfo) -> DeviceView:
    """What a person has registered goes before what the device says of itself."""
    found = info.inventory
    return msgspec.structs.replace(
        view,
        machine=info.machine,
        python=info.python,
        inventory=found,
        told_fingerprint=info.fingerprint,
        ip_address=view.ip_address or (found.address if found else ""),
        ssh_user=view.ssh_user or (found.user if found else ""),
    )


def _rows_of(
    connection: Connection, table: Table, only: Collection[str] | None
) -> dict[str, Found]:
    query = select(table).where(table.c.fleet_id == FLEET)
    if only is not None:
        query = query.where(table.c.id.in_(only))
    return {row.id: row for row in connection.execute(query)}


def _read_known(connection: Connection, only: Collection[str] | None) -> dict[str, _Known]:
    its = state.c
    query = select(its.scope, its.entity, its.id, its.body).where(
        its.fleet_id == FLEET,
        its.deleted.is_(False),
        or_(its.entity == ENTITY, its.entity == _TOLD, its.entity == _ABOUT_ITSELF),
    )
    if only is not None:
        query = query.where(its.scope.in_(only))
    bodies = Bodies.of(connection)
    found: dict[str, _Known] = {}
    for row in connection.execute(query):
        known = found.setdefault(row.scope, _Known({}, {}, None))
        body = bodies.open(STATE, row.body, row.scope, row.entity, row.id)
        if row.entity == ENTITY:
            known.wanted[row.id] = decode(body, _Given, "an assignment").generation
        elif row.entity == _TOLD:
            known.told[row.id] = decode(body, Told, "a status")
        else:
            found[row.scope] = known._replace(info=decode(body, NodeInfo, "a node"))
    return found
