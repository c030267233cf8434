"""What nodes pull of shared rows: an entity's rows in the order of their revisions, and the commits that bind cursors."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Collection, Sequence
from itertools import accumulate, takewhile
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Select, bindparam, func, or_, select

from skerry.hub.store.bodies import Bodies
from skerry.hub.store.changes import Log
from skerry.hub.store.shared import ROW, VERSION, Stored, all_stored, among, of_entity
from skerry.hub.store.shared_tables import shared_commit, shared_row, shared_version
from skerry.hub.store.tables import FLEET, log

_COMMITS = select(shared_commit.c.first, shared_commit.c.last, shared_commit.c.tag).where(
    shared_commit.c.fleet_id == FLEET
)
_NEWEST = _COMMITS.order_by(shared_commit.c.last.desc()).limit(1).subquery()
_OLDEST = _COMMITS.order_by(shared_commit.c.last).limit(1).subquery()
_HEAD = select(
    log.c.epoch,
    select(_NEWEST.c.last).scalar_subquery(),
    select(_NEWEST.c.tag).scalar_subquery(),
    select(_OLDEST.c.first).scalar_subquery(),
).where(log.c.fleet_id == FLEET)
_COMMIT_OF = (
    _COMMITS.where(shared_commit.c.last >= bindparam("rev")).order_by(shared_commit.c.last).limit(1)
)


_NO_END = 2**63 - 1
"""A revision that no row has."""

AROUND = 128
"""Bytes that travel with each body, generously."""


class Room(NamedTuple):
    """What still fits into an answer: rows, and bytes."""

    rows: int
    size: int


class Size(NamedTuple):
    """A row's revision and the bytes of its stored body."""

    rev: int
    size: int


def page(
    connection: Connection, entity: str, after: int, room: Room, *, hidden: str, live: bool
) -> tuple[list[Stored], bool]:
    """The rows above revision `after` that there is room for, one at least; and whether there are more.

    Without those that the node `hidden` made; `live`: without deleted ones.
    """
    if connection.dialect.name == "sqlite":
        return _read_on(connection, entity, after, room, hidden=hidden, live=live)
    # A server sends all that was asked for, so it is asked for no more than there is room for.
    pending = _sizes(connection, entity, after, room.rows + 1, hidden=hidden, live=live)
    fitting = fit(pending, room)
    if not fitting:
        return [], False
    asked = {"entity": entity, "after": after, "through": fitting[-1].rev, "hidden": hidden}
    found = connection.execute(_rows_query(bool(hidden), live), asked).all()
    return all_stored(Bodies.of(connection), entity, found), len(fitting) < len(pending)


def next_id(connection: Connection, entity: str, after: int, *, live: bool) -> tuple[str, int]:
    """Id and revision of the first row above revision `after`, which is there, whatever its body is; `live`: as in `page`."""
    query = _feed(select(shared_row.c.id, shared_row.c.rev), hides=False, live=live).limit(1)
    found = connection.execute(query, {"entity": entity, "after": after}).one()
    return found.id, found.rev


def fit(pending: Sequence[Size], room: Room) -> Sequence[Size]:
    """As many of the rows as there is room for: at least one, if there are any."""
    sizes = accumulate(item.size + AROUND for item in pending)
    fitting = sum(1 for _ in takewhile(lambda size: size <= room.size, sizes))
    return pending[: min(max(fitting, 1), max(room.rows, 1))]


def _read_on(
    connection: Connection, entity: str, after: int, room: Room, *, hidden: str, live: bool
) -> tuple[list[Stored], bool]:
    asked = {"entity": entity, "after": after, "through": _NO_END, "hidden": hidden}
    found: list[Sequence[Any]] = []
    size, more = 0, False
    with contextlib.closing(connection.execute(_rows_query(bool(hidden), live), asked)) as result:
        for row in cast("sqlite3.Cursor", result.cursor):  # SQLAlchemy's rows cost as much again
            size += len(row[5]) + AROUND
            if found and (size > room.size or len(found) >= room.rows):
                more = True
                break
            found.append(row)
    return all_stored(Bodies.of(connection), entity, found), more


def _sizes(
    connection: Connection, entity: str, after: int, limit: int, *, hidden: str, live: bool
) -> list[Size]:
    """Up to `limit` rows above revision `after`, without those that the node `hidden` made; `live`: not deleted ones."""
    asked = {"entity": entity, "after": after, "limit": limit, "hidden": hidden}
    found = connection.execute(_sizes_query(bool(hidden), live), asked).all()
    return [Size(rev, size) for rev, size in found]


@functools.cache
def _sizes_query(hides: bool, live: bool) -> Select[Any]:  # noqa: FBT001 - what there is to tell apart
    query = select(shared_row.c.rev, func.length(shared_row.c.body))
    return _feed(query, hides=hides, live=live).limit(bindparam("limit"))


@functools.cache
def _rows_query(hides: bool, live: bool) -> Select[Any]:  # noqa: FBT001 - as above
    query = select(*ROW).where(shared_row.c.rev <= bindparam("through"))
    return _feed(query, hides=hides, live=live)


def _feed(query: Select[Any], *, hides: bool, live: bool) -> Select[Any]:
    its = shared_row.c
    query = query.where(
        its.fleet_id == FLEET, its.entity == bindparam("entity"), its.rev > bindparam("after")
    )
    if hides:
        query = query.where(its.origin != bindparam("hidden"))
    if live:
        query = query.where(its.deleted.is_(other=False))
    return query.order_by(its.rev)


def held_by(
    connection: Connection, entity: str, row_id: str, rev: int, node_id: str
) -> Stored | None:
    """The version of a row that a node has which was told everything up to `rev`, if that is kept and it had a body.

    What the node made itself it was told as the answer to its edit.
    """
    its = shared_version.c
    told = or_(its.rev <= rev, its.origin == node_id)
    query = select(*VERSION).where(
        its.fleet_id == FLEET, its.entity == entity, its.id == row_id, told, its.was_row
    )
    rows = connection.execute(query.order_by(its.rev.desc()).limit(1)).all()
    found = all_stored(Bodies.of(connection), entity, rows)
    return None if not found or found[0].deleted else found[0]


class Commits:
    """The commits of shared rows in one snapshot: where their log stands, and their tags, each read once."""

    def __init__(self, connection: Connection) -> None:
        epoch, last, tag, first = connection.execute(_HEAD).one()
        self._connection = connection
        self.log = Log(epoch, 0, 0) if last is None else Log(epoch, last, first - 1)
        """The epoch, the last revision of shared rows, and up to where their commits are forgotten."""
        self._tags: dict[int, str | None] = {} if last is None else {last: tag}

    def tag_of(self, rev: int) -> str | None:
        """The tag of the commit that gave `rev`, or None when there is none."""
        if rev not in self._tags:
            row = self._connection.execute(_COMMIT_OF, {"rev": rev}).one_or_none()
            self._tags[rev] = None if row is None or row.first > rev else row.tag
        return self._tags[rev]


def ids(connection: Connection, entity: str) -> Sequence[str]:
    """Of every row, deleted ones too."""
    return connection.execute(select(shared_row.c.id).where(of_entity(entity))).scalars().all()


def sizes_of(connection: Connection, entity: str, row_ids: Collection[str]) -> dict[str, int]:
    """The bytes of the stored bodies of those rows that there are, deleted ones too."""
    its = shared_row.c
    query = select(its.id, func.length(its.body).label("size")).where(
        of_entity(entity), among(connection, its.id, row_ids)
    )
    return {row.id: row.size for row in connection.execute(query)}
