"""Forgets what is too old of shared rows: commits, what rows were, deleted rows, and answers that nobody asks for again.

A cursor older than what is forgotten is answered with a repair (`hub.sync.row_cursors`). Commits go first: as long as a
cursor can be followed, what the row was at it is there. A version that an edit in conflict was made on stays as long as
that waits.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, func, select, tuple_, update

from skerry.hub.store.shared_tables import (
    shared_answer,
    shared_commit,
    shared_conflict,
    shared_decision,
    shared_entity,
    shared_row,
    shared_version,
)
from skerry.hub.store.tables import FLEET


def prune(connection: Connection, before: int, limit: int) -> int:
    """Removes some of what is older than `before` (ns), `limit` of a kind at most; returns how much that was."""
    return (
        _commits(connection, before, limit)
        or _versions(connection, before, limit)
        or _deleted_rows(connection, before, limit)
        or _answers(connection, before)
        or _decisions(connection, before)
    )


def _commits(connection: Connection, before: int, limit: int) -> int:
    """The newest stays: cursors stand at it."""
    its = shared_commit.c
    newest = select(func.max(its.last)).where(its.fleet_id == FLEET).scalar_subquery()
    old = select(its.last).where(its.fleet_id == FLEET, its.at < before, its.last < newest)
    found = connection.execute(old.order_by(its.last).limit(limit)).scalars().all()
    if found:
        those = its.last <= found[-1]
        connection.execute(delete(shared_commit).where(its.fleet_id == FLEET, those))
    return len(found)


def _versions(connection: Connection, before: int, limit: int) -> int:
    its, waits = shared_version.c, shared_conflict.c
    needed = exists().where(
        waits.fleet_id == its.fleet_id,
        waits.entity == its.entity,
        waits.id == its.id,
        waits.base == its.rev,
    )
    old = select(its.entity, its.id, its.rev).where(its.fleet_id == FLEET, its.at < before, ~needed)
    found = [tuple(row) for row in connection.execute(old.order_by(its.at).limit(limit))]
    if found:
        those = tuple_(its.entity, its.id, its.rev).in_(found)
        connection.execute(delete(shared_version).where(its.fleet_id == FLEET, those))
    return len(found)


def _deleted_rows(connection: Connection, before: int, limit: int) -> int:
    """Notes for each entity up to where they went: a cursor or an edit from before knows nothing of the deletion."""
    its, entities = shared_row.c, shared_entity.c
    old = select(its.entity, its.id, its.rev).where(
        its.fleet_id == FLEET, its.deleted, its.updated_at < before
    )
    found = connection.execute(old.order_by(its.updated_at).limit(limit)).all()
    through: dict[str, int] = {}
    for row in found:
        through[row.entity] = max(through.get(row.entity, 0), row.rev)
    if found:
        those = tuple_(its.entity, its.id).in_([(row.entity, row.id) for row in found])
        connection.execute(delete(shared_row).where(its.fleet_id == FLEET, those))
    for entity, rev in through.items():
        its_own = (entities.fleet_id == FLEET) & (entities.entity == entity)
        raised = update(shared_entity).where(its_own, entities.pruned_through < rev)
        connection.execute(raised.values(pruned_through=rev))
    return len(found)


def _decisions(connection: Connection, before: int) -> int:
    """As what rows were."""
    removed = connection.execute(delete(shared_decision).where(shared_decision.c.at < before))
    return removed.rowcount


def _answers(connection: Connection, before: int) -> int:
    """Of incarnations that are gone; of the others the node's going on has removed them."""
    removed = connection.execute(delete(shared_answer).where(shared_answer.c.at < before))
    return removed.rowcount
