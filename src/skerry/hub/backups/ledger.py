"""Which verified backups there are and how far each has every lane: what the hub tells nodes that they may forget.

A backup counts until its time is over (`until`); somebody who sees it prolongs that. `lane.backed_up` is the furthest
point of those that count, so that it costs the sync nothing. Everything here is done within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from skerry.hub.store.tables import backup, backup_point, lane
from skerry.kit.clock import NS

SEEN_FOR = 3600 * NS
"""A backup that no process has seen for so long does not count any more."""


class Point(NamedTuple):
    """A copy has the lane of an incarnation up to record `n`."""

    node_id: str
    incarnation: str
    lane: str
    n: int


@dataclass(frozen=True)
class Entry:
    """One backup. `path` is empty for one by the user's own tools; times are ns since 1970, `size` is in bytes."""

    id: str
    path: str
    size: int
    taken_at: int
    until: int


def read_points(connection: Connection) -> list[Point]:
    """How far this database has every lane. Of a copy: ask within the transaction that the copy is of."""
    query = select(lane.c.node_id, lane.c.incarnation, lane.c.lane, lane.c.n).where(lane.c.n > 0)
    return [Point(*row) for row in connection.execute(query)]


def without_files(points: Sequence[Point]) -> list[Point]:
    """Of a copy that lacks the files: nodes let go of them by how far their records' lane is backed up."""
    return [point for point in points if point.lane != "event"]


def entries(connection: Connection) -> list[Entry]:
    """Every backup that counts, the oldest first."""
    rows = connection.execute(select(backup).order_by(backup.c.taken_at, backup.c.id))
    return [Entry(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def remember(connection: Connection, entry: Entry, points: Sequence[Point]) -> None:
    """From now on nodes may forget what this backup has. It must be durable and verified. One of the same path is gone."""
    if entry.path:
        _drop(connection, _ids_at(connection, entry.path))
    connection.execute(backup.insert(), entry.__dict__)
    if points:
        rows = [{"backup_id": entry.id, **point._asdict()} for point in points]
        connection.execute(backup_point.insert(), rows)
    _recount(connection)


def prolong(connection: Connection, ids: Collection[str], until: int) -> None:
    """These backups have been seen: they count until then."""
    connection.execute(update(backup).where(backup.c.id.in_(ids)).values(until=until))


def forget(connection: Connection, ids: Collection[str]) -> None:
    """These backups are gone, or will be in a moment: nodes keep what only they have."""
    if ids:
        _drop(connection, ids)
        _recount(connection)


def forget_overdue(connection: Connection, now: int) -> list[Entry]:
    """Forgets those whose time is over at `now`; returns them."""
    overdue = [entry for entry in entries(connection) if entry.until < now]
    forget(connection, [entry.id for entry in overdue])
    return overdue


def only(connection: Connection, entry: Entry | None, points: Sequence[Point]) -> None:
    """This database is what came out of that backup: it has the points, and no other backup counts. None: nor does it."""
    forget(connection, [each.id for each in entries(connection)])
    if entry is not None:
        remember(connection, entry, points)


def _ids_at(connection: Connection, path: str) -> list[str]:
    return list(connection.execute(select(backup.c.id).where(backup.c.path == path)).scalars())


def _drop(connection: Connection, ids: Collection[str]) -> None:
    connection.execute(delete(backup_point).where(backup_point.c.backup_id.in_(ids)))
    connection.execute(delete(backup).where(backup.c.id.in_(ids)))


def _recount(connection: Connection) -> None:
    furthest = (
        select(func.coalesce(func.max(backup_point.c.n), 0))
        .where(
            backup_point.c.node_id == lane.c.node_id,
            backup_point.c.incarnation == lane.c.incarnation,
            backup_point.c.lane == lane.c.lane,
        )
        .scalar_subquery()
    )
    connection.execute(update(lane).where(lane.c.backed_up != furthest).values(backed_up=furthest))
