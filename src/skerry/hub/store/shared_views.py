"""Shared rows for people: entities, rows by their ids, what rows were, and what waits for a decision."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    bindparam,
    func,
    literal,
    select,
)
from sqlalchemy.sql.type_api import TypeEngine

from skerry.core.row_digests import digest, unpack
from skerry.hub.store import shared, shared_decisions
from skerry.hub.store.bodies import SHARED, Bodies
from skerry.hub.store.shared import NO_BODY, Stored, among_given, of_entity
from skerry.hub.store.shared_tables import (
    shared_conflict,
    shared_entity,
    shared_row,
    shared_version,
)
from skerry.hub.store.tables import FLEET, node
from skerry.wire.entities import MAX_ANSWER
from skerry.wire.rows import (
    HUB,
    Conflict,
    ConflictView,
    EntityView,
    RowList,
    RowVersion,
    RowView,
    Waiting,
)


class Wait(NamedTuple):
    """An edit that waits; `node_id` made it on revision `base`."""

    rev: int
    node_id: str
    base: int
    deleted: bool
    at: int
    body: bytes


_NAMES = select(node.c.id, node.c.name).where(node.c.fleet_id == FLEET)


def names(connection: Connection) -> dict[str, str]:
    """The names of nodes by their ids, and of the hub."""
    return {"": HUB, **{row.id: row.name for row in connection.execute(_NAMES)}}


def _names_of(connection: Connection, origins: Iterable[str]) -> dict[str, str]:
    """As `names`, of those that rows come from: a fleet may have thousands."""
    ids = set(origins) - {""}
    found = (
        connection.execute(
            _names_query(connection.dialect.name), {"ids": shared.listed(connection, ids)}
        )
        if ids
        else ()
    )
    return {"": HUB, **{row.id: row.name for row in found}}


@functools.cache
def _names_query(dialect: str) -> Select[Any]:
    return _NAMES.where(among_given(dialect, node.c.id, _ids))


def entities(connection: Connection) -> list[EntityView]:
    """Those that have or had rows, in the order of their names."""
    its = shared_conflict.c
    waits = select(its.entity, func.count().label("waits")).where(its.fleet_id == FLEET)
    waiting = {row.entity: row.waits for row in connection.execute(waits.group_by(its.entity))}
    query = select(shared_entity).where(shared_entity.c.fleet_id == FLEET)
    return [
        EntityView(
            row.entity,
            shared.declaration(connection, row.entity).strategy,
            row.live,
            waiting.get(row.entity, 0),
            digest(unpack(row.sums)),
        )
        for row in connection.execute(query.order_by(shared_entity.c.entity)).all()
    ]


def page(
    connection: Connection, entity: str, after: str, limit: int, prefix: str = "", sign: bytes = b""
) -> RowList:
    """Up to `limit` rows and about MAX_ANSWER bytes of bodies: those whose ids come after `after` and begin with `prefix`.

    With `sign`, only rows that have these bytes in their bodies; where bodies are sealed, all.
    """
    its, bodies = shared_row.c, Bodies.of(connection)
    size = func.length(its.body)
    through = func.sum(size).over(order_by=its.id, rows=(None, 0))
    query = select(
        its.id,
        its.rev,
        its.origin,
        its.updated_at,
        its.deleted,
        its.body,
        (through - size).label("before"),
    )
    query = query.where(_of_page(entity, prefix), its.id > after).order_by(its.id).limit(limit + 1)
    if sign and not bodies.seals:
        query = query.where(_holds(connection, its.body, sign))
    some = query.subquery()
    read = select(some).where(some.c.before < MAX_ANSWER).order_by(some.c.id)
    found = connection.execute(read).all()
    called = names(connection)
    views = [_view(bodies, called, entity, row) for row in found[:limit]]
    is_cut = bool(found) and found[-1].before + len(found[-1].body) >= MAX_ANSWER
    return RowList(views, views[-1].id if len(found) > limit or is_cut else "")


def count(connection: Connection, entity: str, prefix: str = "") -> int:
    """How many rows there are whose ids begin with `prefix`."""
    if not prefix:
        return shared.standing(connection, entity).live
    query = select(func.count()).select_from(shared_row).where(_of_page(entity, prefix))
    return int(connection.execute(query).scalar_one())


def _of_page(entity: str, prefix: str) -> ColumnElement[bool]:
    its = shared_row.c
    among = of_entity(entity) & its.deleted.is_(other=False)
    if not prefix:
        return among
    return among & (its.id >= prefix) & (func.substr(its.id, 1, len(prefix)) == prefix)


def _holds(
    connection: Connection, column: ColumnElement[bytes], sign: bytes
) -> ColumnElement[bool]:
    """Whether a column of bytes has these in it."""
    found: ColumnElement[int] = func.instr(column, sign)
    if connection.dialect.name == "postgresql":
        found = func.position(literal(sign, LargeBinary).op("IN")(column))
    return found > 0


def one(connection: Connection, entity: str, row_id: str) -> RowView | None:
    """A row; None when there is none, or a deleted one."""
    found = some(connection, entity, [row_id])
    return found[0] if found else None


def some(connection: Connection, entity: str, ids: Collection[str]) -> list[RowView]:
    """Those of these rows that there are, in the order of their ids."""
    asked = {"entity": entity, "ids": shared.listed(connection, ids)}
    found = connection.execute(_some_query(connection.dialect.name), asked).all()
    called, bodies = _names_of(connection, (row.origin for row in found)), Bodies.of(connection)
    return [_view(bodies, called, entity, row) for row in found]


@functools.cache
def _some_query(dialect: str) -> Select[Any]:
    """Made once: programs ask for rows by their ids all the time."""
    its = shared_row.c
    query = select(shared_row).where(
        its.fleet_id == FLEET,
        its.entity == bindparam("entity"),
        among_given(dialect, its.id, _ids),
        its.deleted.is_(other=False),
    )
    return query.order_by(its.id)


def _ids(kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return bindparam("ids", type_=kind)


def history(connection: Connection, entity: str, row_id: str) -> list[RowVersion]:
    """Every version that is kept, the newest last."""
    called, bodies = names(connection), Bodies.of(connection)
    decisions = shared_decisions.of_row(connection, called, entity, row_id)

    def version(row: Any, by: str, state: Any, *, was_row: bool, at: int) -> RowVersion:  # noqa: ANN401 - a row of three tables
        body = msgspec.Raw(_body(bodies, entity, row_id, row))
        named = called.get(by, by)
        decision = decisions.get(row.rev)
        return RowVersion(row.rev, named, state, was_row, at, row.deleted, body, decision)

    its = shared_version.c
    kept = select(shared_version).where(
        its.fleet_id == FLEET, its.entity == entity, its.id == row_id
    )
    found = [
        version(row, row.origin, row.why, was_row=row.was_row, at=row.at)
        for row in connection.execute(kept)
    ]
    now = select(shared_row).where(of_entity(entity), shared_row.c.id == row_id)
    found += [
        version(row, row.origin, "now", was_row=True, at=row.updated_at)
        for row in connection.execute(now)
    ]
    found += [
        version(row, row.node_id, "waiting", was_row=False, at=row.at)
        for row in connection.execute(_waits(entity, row_id))
    ]
    return sorted(found, key=lambda each: each.rev)


def conflicts(connection: Connection, entity: str | None) -> list[ConflictView]:
    """What waits, the oldest first."""
    its = shared_conflict.c
    query = select(its.entity, its.id, its.node_id, its.at, its.deleted).where(
        its.fleet_id == FLEET
    )
    if entity is not None:
        query = query.where(its.entity == entity)
    called = names(connection)
    return [
        ConflictView(row.entity, row.id, called.get(row.node_id, row.node_id), row.at, row.deleted)
        for row in connection.execute(query.order_by(its.at, its.entity, its.id))
    ]


def waits(connection: Connection, entity: str, row_id: str) -> list[Wait]:
    """What waits for one row."""
    bodies = Bodies.of(connection)
    return [
        Wait(
            row.rev, row.node_id, row.base, row.deleted, row.at, _body(bodies, entity, row_id, row)
        )
        for row in connection.execute(_waits(entity, row_id))
    ]


def conflict(connection: Connection, entity: str, row_id: str) -> Conflict | None:
    """A row with all that waits for it; None when nothing does."""
    waiting = waits(connection, entity, row_id)
    if not waiting:
        return None
    held = shared.find(connection, entity, row_id)
    bases = shared.versions(connection, entity, [(row_id, wait.base) for wait in waiting])
    if held is not None:
        bases[row_id, held.rev] = held
    called = names(connection)
    return Conflict(
        entity,
        row_id,
        one(connection, entity, row_id),
        [_waiting(called, wait, bases.get((row_id, wait.base))) for wait in waiting],
    )


def _waiting(called: dict[str, str], wait: Wait, base: Stored | None) -> Waiting:
    name = called.get(wait.node_id, wait.node_id)
    shown = Waiting(name, wait.at, wait.deleted, msgspec.Raw(wait.body), wait.base)
    if base is None or base.deleted:
        return shown
    return msgspec.structs.replace(shown, base=msgspec.Raw(base.body))


def _waits(entity: str, row_id: str) -> Select[Any]:
    its = shared_conflict.c
    query = select(shared_conflict).where(
        its.fleet_id == FLEET, its.entity == entity, its.id == row_id
    )
    return query.order_by(its.rev)


def _view(bodies: Bodies, called: dict[str, str], entity: str, row: Any) -> RowView:  # noqa: ANN401 - a row of `shared_row`
    body = msgspec.Raw(_body(bodies, entity, row.id, row))
    return RowView(row.id, row.rev, called.get(row.origin, row.origin), row.updated_at, body)


def _body(bodies: Bodies, entity: str, row_id: str, row: Any) -> bytes:  # noqa: ANN401 - a row of three tables
    return NO_BODY if row.deleted else bodies.open(SHARED, row.body, entity, row_id, row.rev)
