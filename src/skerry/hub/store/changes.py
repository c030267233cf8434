"""The change log: numbers in the order of commits, a random tag for each change, and the hub's epoch.

Nodes keep cursors into this log (`core.cursors`). The tag tells a cursor's history from another that
came to the same numbers after the database was restored; the epoch then rises so that new intent
passes whatever the nodes still have from the lost history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, and_, bindparam, delete, exists, func, select, update

from skerry.hub.store.notices import tell_news
from skerry.hub.store.tables import FLEET, change, log
from skerry.kit.ids import random_token

_TAG_BYTES = 8
_LOST_AT_MOST = 1_000_000_000


_LOG = select(log.c.epoch, log.c.seq, log.c.pruned_through).where(log.c.fleet_id == FLEET)
_TAG = select(change.c.tag).where(change.c.fleet_id == FLEET, change.c.seq == bindparam("seq"))
_ALLOT = (
    update(log)
    .where(log.c.fleet_id == FLEET)
    .values(seq=log.c.seq + bindparam("count", type_=BigInteger()))
    .returning(log.c.seq)
)


@dataclass(frozen=True)
class Change:
    """A new version of one row; `seq` was allotted before. `scope` is the node that the row is for."""

    seq: int
    scope: str
    entity: str
    id: str
    origin: str


@dataclass(frozen=True)
class Log:
    """Where the log stands. Superseded changes up to `pruned_through` may be missing."""

    epoch: int
    seq: int
    pruned_through: int


def read_log(connection: Connection) -> Log:
    """The log's head."""
    row = connection.execute(_LOG).one()
    return Log(row.epoch, row.seq, row.pruned_through)


def allot(connection: Connection, count: int = 1) -> int:
    """Takes `count` numbers and returns the first.

    The row stays locked until the commit, so numbers become visible in their order even when several
    processes write to one PostgreSQL.
    """
    last = connection.execute(_ALLOT, {"count": count}).scalar_one()
    return int(last) - count + 1


def append(connection: Connection, changes: Sequence[Change], at: int) -> None:
    """Writes `changes` to the log, each with a fresh tag, and tells other processes. `at` is in ns since 1970."""
    if not changes:
        return
    connection.execute(
        change.insert(),
        [
            {
                "fleet_id": FLEET,
                "seq": item.seq,
                "tag": random_token(_TAG_BYTES),
                "scope": item.scope,
                "entity": item.entity,
                "id": item.id,
                "origin": item.origin,
                "at": at,
            }
            for item in changes
        ],
    )
    tell_news(connection, {item.scope for item in changes})


def tag_of(connection: Connection, seq: int) -> str | None:
    """The tag of change `seq`, or None when there is no such change."""
    return connection.execute(_TAG, {"seq": seq}).scalar()


def raise_epoch(connection: Connection, above: int) -> int:
    """Sets the epoch past both its old value and `above`; returns it.

    Numbers go on far beyond those of the lost history: a revision that a node has from there is never given again.
    """
    epoch = max(read_log(connection).epoch, above) + 1
    moved = update(log).where(log.c.fleet_id == FLEET)
    connection.execute(moved.values(epoch=epoch, seq=log.c.seq + _LOST_AT_MOST))
    return epoch


def drop_scope(connection: Connection, scope: str) -> None:
    """Removes the changes of a node that is no longer one. A cursor of it that comes back later gets the full set."""
    its = and_(change.c.fleet_id == FLEET, change.c.scope == scope)
    newest = connection.execute(select(func.max(change.c.seq)).where(its)).scalar()
    if newest is None:
        return
    connection.execute(delete(change).where(its))
    _raise_pruned(connection, int(newest))


def prune(connection: Connection, before: int, limit: int) -> int:
    """Removes up to `limit` changes older than `before` (ns) that a newer change superseded before it too.

    A cursor at a removed change belongs to a node that has not pulled since; it gets the full set.
    """
    newer = change.alias()
    superseded = exists().where(
        and_(
            newer.c.fleet_id == change.c.fleet_id,
            newer.c.scope == change.c.scope,
            newer.c.entity == change.c.entity,
            newer.c.id == change.c.id,
            newer.c.seq > change.c.seq,
            newer.c.at < before,
        )
    )
    found = select(change.c.seq).where(change.c.fleet_id == FLEET, change.c.at < before, superseded)
    seqs = connection.execute(found.order_by(change.c.seq).limit(limit)).scalars().all()
    if seqs:
        connection.execute(delete(change).where(change.c.fleet_id == FLEET, change.c.seq.in_(seqs)))
        _raise_pruned(connection, seqs[-1])
    return len(seqs)


def _raise_pruned(connection: Connection, through: int) -> None:
    connection.execute(
        update(log)
        .where(log.c.fleet_id == FLEET, log.c.pruned_through < through)
        .values(pruned_through=through)
    )
