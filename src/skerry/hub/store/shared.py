"""Shared rows in the database: reading them, what they were, and what waits (ADR 18). `shared_writing` changes them.

Whoever decides by what is read here holds the fleet's lock (`locks.of_fleet`) until the transaction ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    any_,
    bindparam,
    func,
    literal,
    select,
)
from sqlalchemy.sql.type_api import TypeEngine

from skerry.core.row_digests import EMPTY, unpack
from skerry.hub.store.bodies import SHARED, Bodies
from skerry.hub.store.shared_tables import (
    shared_conflict,
    shared_entity,
    shared_row,
    shared_version,
)
from skerry.hub.store.tables import FLEET
from skerry.kit.clock import NS
from skerry.kit.sealing.cipher import Row
from skerry.wire.shared import DECLARATIONS, OF_DECLARATIONS, Declaration, SharedRow

NO_BODY = b"{}"
"""What stands for the body of a deleted row where one is asked for."""

HORIZON = 30 * 86_400 * NS
"""Nanoseconds for which deleted rows, and what rows were, are kept."""

MARK_ZERO = 2**63
"""Is taken from marks, which have 64 bits without a sign, to fit a column."""


class Head(NamedTuple):
    """A row without its body. `mark` is 0 when it is deleted."""

    id: str
    rev: int
    hlc: int
    origin: str
    deleted: bool
    mark: int


class Stored(NamedTuple):
    """A version of a row with its body, opened; `NO_BODY` when it is deleted."""

    id: str
    rev: int
    hlc: int
    origin: str
    deleted: bool
    body: bytes

    def to_wire(self) -> SharedRow:
        """As it travels, whole."""
        return SharedRow(
            self.id, self.rev, self.hlc, self.origin, self.deleted, msgspec.Raw(self.body)
        )


class Standing(NamedTuple):
    """An entity as a whole: see `shared_entity`."""

    live: int
    newest: int
    pruned_through: int
    sums: list[int]


_HEAD = (
    shared_row.c.id, shared_row.c.rev, shared_row.c.hlc, shared_row.c.origin, shared_row.c.deleted, shared_row.c.mark,
)  # fmt: skip
ROW = (*_HEAD[:5], shared_row.c.body)
"""The columns that `stored` takes."""

VERSION = (
    shared_version.c.id, shared_version.c.rev, shared_version.c.hlc, shared_version.c.origin, shared_version.c.deleted,
    shared_version.c.body,
)  # fmt: skip


# Statements of the way that every push and pull goes are made once: making one costs more than running it.
_OF_ENTITY = (shared_row.c.fleet_id == FLEET) & (shared_row.c.entity == bindparam("entity"))


def heads(connection: Connection, entity: str, ids: Collection[str]) -> dict[str, Head]:
    """The rows with these ids that there are, deleted ones too."""
    query = _heads_query(connection.dialect.name)
    found = connection.execute(query, {"entity": entity, "ids": listed(connection, ids)}).all()
    return {row[0]: head(row) for row in found}


@functools.cache
def _heads_query(dialect: str) -> Select[Any]:
    return select(*_HEAD).where(_OF_ENTITY, among_given(dialect, shared_row.c.id, _ids))


def head(row: Sequence[Any]) -> Head:
    """A row of a query for `Head`'s columns."""
    id_, rev, hlc, origin, deleted, mark = row
    return Head(id_, rev, hlc, origin, deleted, 0 if deleted else mark + MARK_ZERO)


def rows(connection: Connection, entity: str, ids: Collection[str]) -> dict[str, Stored]:
    """As `heads`, with bodies."""
    query = _rows_query(connection.dialect.name)
    rows = connection.execute(query, {"entity": entity, "ids": listed(connection, ids)}).all()
    found = all_stored(Bodies.of(connection), entity, rows)
    return {row.id: row for row in found}


@functools.cache
def _rows_query(dialect: str) -> Select[Any]:
    return select(*ROW).where(_OF_ENTITY, among_given(dialect, shared_row.c.id, _ids))


def find(connection: Connection, entity: str, row_id: str) -> Stored | None:
    """One row, a deleted one too."""
    return rows(connection, entity, [row_id]).get(row_id)


def versions(
    connection: Connection, entity: str, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Stored]:
    """What rows were, by id and revision; those that are not kept are missing."""
    pairs = set(wanted)
    if not pairs:
        return {}
    query = select(*VERSION).where(
        shared_version.c.fleet_id == FLEET,
        shared_version.c.entity == entity,
        among(connection, shared_version.c.id, {id_ for id_, _ in pairs}),
        among(connection, shared_version.c.rev, {rev for _, rev in pairs}),
    )
    found = all_stored(Bodies.of(connection), entity, connection.execute(query).all())
    return {(version.id, version.rev): version for version in found}


def all_stored(bodies: Bodies, entity: str, found: Sequence[Sequence[Any]]) -> list[Stored]:
    """The rows of a query for `ROW` or `VERSION`, opened."""
    live: list[Row] = [((row[0], str(row[1])), row[5]) for row in found if not row[4]]
    opened = bodies.open_rows(SHARED, live, entity)
    if len(live) < len(found):
        each = iter(opened)
        opened = [NO_BODY if row[4] else next(each) for row in found]
    return [
        Stored(id_, rev, hlc, origin, bool(deleted), body)
        for (id_, rev, hlc, origin, deleted, _), body in zip(found, opened, strict=True)
    ]


def history_of(
    connection: Connection, entity: str, origin: str, edits: Collection[tuple[str, int]]
) -> dict[tuple[str, int], list[Stored]]:
    """What is kept of a node's edits among what rows were, by id and clock."""
    found: dict[tuple[str, int], list[Stored]] = {}
    if not edits:
        return found
    query = select(*VERSION).where(
        shared_version.c.fleet_id == FLEET,
        shared_version.c.entity == entity,
        shared_version.c.origin == origin,
        among(connection, shared_version.c.id, {id_ for id_, _ in edits}),
        among(connection, shared_version.c.hlc, {hlc for _, hlc in edits}),
    )
    kept = all_stored(Bodies.of(connection), entity, connection.execute(query).all())
    for version in kept:
        found.setdefault((version.id, version.hlc), []).append(version)
    return found


def waiting(connection: Connection, entity: str, ids: Collection[str]) -> dict[str, dict[str, int]]:
    """The clock of the edit that waits, for these rows by their ids and for nodes."""
    asked = {"entity": entity, "ids": listed(connection, ids)}
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(_waits_query(connection.dialect.name), asked):
        found.setdefault(row.id, {})[row.node_id] = row.hlc
    return found


@functools.cache
def _waits_query(dialect: str) -> Select[Any]:
    its = shared_conflict.c
    return select(its.id, its.node_id, its.hlc).where(
        its.fleet_id == FLEET,
        its.entity == bindparam("entity"),
        among_given(dialect, its.id, _ids),
    )


def waiting_of(
    connection: Connection, entities: Collection[str], node_id: str
) -> dict[str, list[str]]:
    """The rows of which an edit of this node waits, by entity; an entity without any is missing."""
    asked = {"entities": listed(connection, entities), "node_id": node_id}
    found: dict[str, list[str]] = {}
    for entity, row_id in connection.execute(_waiting_query(connection.dialect.name), asked).all():
        found.setdefault(entity, []).append(row_id)
    return found


@functools.cache
def _waiting_query(dialect: str) -> Select[Any]:
    its = shared_conflict.c
    among_them = among_given(dialect, its.entity, _entities)
    query = select(its.entity, its.id).where(
        its.fleet_id == FLEET, among_them, its.node_id == bindparam("node_id")
    )
    return query.order_by(its.entity, its.id)


def standing(connection: Connection, entity: str) -> Standing:
    """That of an entity that has no rows yet, too."""
    return standings(connection, [entity])[entity]


def standings(connection: Connection, entities: Collection[str]) -> dict[str, Standing]:
    """As `standing`, for each of them."""
    query = _standings_query(connection.dialect.name)
    found = connection.execute(query, {"entities": listed(connection, entities)}).all()
    there = {
        entity: Standing(live, newest, pruned_through, unpack(sums))
        for entity, live, newest, pruned_through, sums in found
    }
    return {entity: there.get(entity) or _no_rows() for entity in entities}


@functools.cache
def _standings_query(dialect: str) -> Select[Any]:
    its = shared_entity.c
    query = select(its.entity, its.live, its.newest, its.pruned_through, its.sums)
    return query.where(its.fleet_id == FLEET, among_given(dialect, its.entity, _entities))


def _no_rows() -> Standing:
    return Standing(0, 0, 0, unpack(EMPTY))


def declaration(connection: Connection, entity: str) -> Declaration:
    """How an entity is synced; as a declaration without words says, when there is none."""
    if entity == DECLARATIONS:
        return OF_DECLARATIONS
    row = find(connection, DECLARATIONS, entity)
    if row is None or row.deleted:
        return Declaration()
    return msgspec.json.decode(row.body, type=Declaration)


def of_entity(entity: str) -> ColumnElement[bool]:
    """The condition for all rows of an entity."""
    return (shared_row.c.fleet_id == FLEET) & (shared_row.c.entity == entity)


def among(
    connection: Connection, column: ColumnElement[Any], values: Collection[str] | Collection[int]
) -> ColumnElement[bool]:
    """The column has one of `values`, which are one parameter however many they are."""
    given = listed(connection, values)
    return among_given(connection.dialect.name, column, lambda kind: literal(given, kind))


def listed(
    connection: Connection, values: Collection[str] | Collection[int]
) -> Sequence[str | int] | str:
    """`values` as the one parameter that they are."""
    if connection.dialect.name == "postgresql":
        return list(values)
    return msgspec.json.encode(list(values)).decode()


def among_given(
    dialect: str,
    column: ColumnElement[Any],
    given: Callable[[TypeEngine[Any]], ColumnElement[Any]],
) -> ColumnElement[bool]:
    """As `among` in a statement that is made once: `given` makes the parameter, for `listed`."""
    if dialect == "postgresql":
        kind: TypeEngine[Any] = Text() if isinstance(column.type, Text) else BigInteger()
        return column == any_(given(ARRAY(kind)))
    each = func.json_each(given(Text())).table_valued("value")
    return column.in_(select(each.c.value))


def _ids(kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return bindparam("ids", type_=kind)


def _entities(kind: TypeEngine[Any]) -> ColumnElement[Any]:
    return bindparam("entities", type_=kind)
