"""What nodes pull of shared rows: an entity's rows in the order of their revisions, and the commits that bind cursors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from skerry.hub.store.bodies import Bodies
from skerry.hub.store.changes import Log, read_log
from skerry.hub.store.shared import ROW, VERSION, Stored, among, of_entity, stored
from skerry.hub.store.shared_tables import shared_commit, shared_row, shared_version
from skerry.hub.store.tables import FLEET


class Size(NamedTuple):
    """A row's revision and the bytes of its stored body."""

    rev: int
    size: int


def sizes(
    connection: Connection, entity: str, after: int, limit: int, *, hidden: str, live: bool
) -> list[Size]:
    """Up to `limit` rows above revision `after`, without those that the node `hidden` made; `live`: not deleted ones."""
    its = shared_row.c
    query = select(its.rev, func.length(its.body)).where(of_entity(entity), its.rev > after)
    if hidden:
        query = query.where(its.origin != hidden)
    if live:
        query = query.where(its.deleted.is_(other=False))
    found = connection.execute(query.order_by(its.rev).limit(limit))
    return [Size(rev, size) for rev, size in found]


def rows_between(
    connection: Connection, entity: str, after: int, through: int, *, hidden: str, live: bool
) -> list[Stored]:
    """The rows of `sizes` up to revision `through`."""
    its = shared_row.c
    query = select(*ROW).where(of_entity(entity), its.rev > after, its.rev <= through)
    if hidden:
        query = query.where(its.origin != hidden)
    if live:
        query = query.where(its.deleted.is_(other=False))
    bodies = Bodies.of(connection)
    return [stored(bodies, entity, row) for row in connection.execute(query.order_by(its.rev))]


def was_at(connection: Connection, entity: str, row_id: str, rev: int) -> Stored | None:
    """What a row was when the history stood at `rev`, if that is kept and it had a body."""
    its = shared_version.c
    query = select(*VERSION).where(
        its.fleet_id == FLEET, its.entity == entity, its.id == row_id, its.rev <= rev, its.was_row
    )
    row = connection.execute(query.order_by(its.rev.desc()).limit(1)).one_or_none()
    found = None if row is None else stored(Bodies.of(connection), entity, row)
    return None if found is None or found.deleted else found


def log_of_commits(connection: Connection) -> Log:
    """The epoch, the last revision of shared rows, and up to where their commits are forgotten."""
    its = shared_commit.c
    query = select(its.first, its.last).where(its.fleet_id == FLEET).limit(1)
    newest = connection.execute(query.order_by(its.last.desc())).one_or_none()
    epoch = read_log(connection).epoch
    if newest is None:
        return Log(epoch, 0, 0)
    oldest = connection.execute(query.order_by(its.last)).one()
    return Log(epoch, newest.last, oldest.first - 1)


def tag_of(connection: Connection, rev: int) -> str | None:
    """The tag of the commit that gave `rev`, or None when there is none."""
    its = shared_commit.c
    query = select(its.first, its.tag).where(its.fleet_id == FLEET, its.last >= rev)
    row = connection.execute(query.order_by(its.last).limit(1)).one_or_none()
    return None if row is None or row.first > rev else row.tag


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
