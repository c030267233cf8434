"""Writes what was decided about shared rows of one entity: rows, what they were, what lost, what waits, and the sums.

Rows and versions come with their revisions; `commit` binds them to this history. Superseded rows move to
`shared_version` inside the database, as they are sealed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Connection, Select, and_, delete, literal, select

from skerry.core.merging import mark
from skerry.core.row_digests import bucket_of, pack, replaced
from skerry.hub.store import bulk, notices
from skerry.hub.store.bodies import SHARED, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.shared import MARK_ZERO, Head, Stored, among, of_entity, standing
from skerry.hub.store.shared_tables import (
    shared_commit,
    shared_conflict,
    shared_entity,
    shared_row,
    shared_version,
)
from skerry.hub.store.tables import FLEET
from skerry.kit.ids import random_token

_TAG_BYTES = 8

Why = Literal["superseded", "lost", "merged", "decided"]


@dataclass(frozen=True)
class Kept:
    """A version that goes to the history without having been in `shared_row`, or no longer."""

    version: Stored
    why: Why
    was_row: bool


@dataclass(frozen=True)
class Wait:
    """An edit of a node that waits for a decision; `base` is the revision that it was made on."""

    version: Stored
    base: int


@dataclass
class Changed:
    """What is to be written of one entity. `held` has the rows that are replaced, as they are in the database."""

    entity: str
    rows: dict[str, Stored] = field(default_factory=dict)
    held: dict[str, Head] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """The ids of those rows whose held version lost; the others are superseded."""
    kept: list[Kept] = field(default_factory=list)
    waits: dict[str, Wait] = field(default_factory=dict)
    """By the ids of their rows."""
    settled: set[str] = field(default_factory=set)
    """The ids of rows whose conflicts are decided."""


def write(connection: Connection, changed: Changed, at: int) -> None:
    """Writes all of it. `at` is in ns since 1970."""
    replaced_ids = changed.held.keys() & changed.rows.keys()
    _remember(connection, changed.entity, replaced_ids - changed.lost, "superseded", at)
    _remember(connection, changed.entity, replaced_ids & changed.lost, "lost", at)
    bodies = Bodies.of(connection)
    marks = _write_rows(connection, bodies, changed, at)
    _keep(connection, bodies, changed, at)
    _end_waits(connection, changed, at)
    _wait(connection, bodies, changed, at)
    if marks:
        _count(connection, changed, marks)


def commit(
    connection: Connection, first: int, last: int, entities: Collection[str], at: int
) -> None:
    """Notes that the revisions `first` to `last` are of this transaction, and tells other processes about it."""
    connection.execute(
        shared_commit.insert().values(
            fleet_id=FLEET, last=last, first=first, tag=random_token(_TAG_BYTES), at=at
        )
    )
    if entities:
        notices.tell(connection, notices.Shared(sorted(entities)))


def _write_rows(
    connection: Connection, bodies: Bodies, changed: Changed, at: int
) -> Mapping[str, int]:
    """The marks of the rows; 0 for deleted ones."""
    entity, seal = changed.entity, bodies.seal
    marks: dict[str, int] = {}
    written: list[tuple[object, ...]] = []
    for id_, rev, hlc, origin, deleted, body in changed.rows.values():
        marks[id_] = its = 0 if deleted else mark(id_, rev, body)
        sealed = b"" if deleted else seal(SHARED, body, entity, id_, rev)
        shown = 0 if deleted else its - MARK_ZERO
        written.append((FLEET, entity, id_, rev, hlc, origin, deleted, shown, at, sealed))
    bulk.put(connection, shared_row, written)
    return marks


def _remember(connection: Connection, entity: str, ids: Collection[str], why: Why, at: int) -> None:
    """Copies rows to the history, before they are replaced."""
    if not ids:
        return
    its = shared_row.c
    of_rows = select(
        its.fleet_id, its.entity, its.id, its.rev, its.hlc, its.origin, its.deleted, literal(value=True),
        literal(why), literal(at), its.body,
    ).where(of_entity(entity), among(connection, its.id, ids))  # fmt: skip
    _into_history(connection, of_rows)


def _keep(connection: Connection, bodies: Bodies, changed: Changed, at: int) -> None:
    written: list[tuple[object, ...]] = []
    for kept in changed.kept:
        id_, rev, hlc, origin, deleted, body = kept.version
        sealed = b"" if deleted else bodies.seal(SHARED, body, changed.entity, id_, rev)
        written.append(
            (FLEET, changed.entity, id_, rev, hlc, origin, deleted, kept.was_row, kept.why, at, sealed)
        )  # fmt: skip
    bulk.insert_new(connection, shared_version, written)


def _end_waits(connection: Connection, changed: Changed, at: int) -> None:
    """What waited for rows that are decided, and what a later edit of the same node takes the place of."""
    if changed.settled:
        _end(connection, changed.entity, changed.settled, None, "decided", at)
    for wait in changed.waits.values():
        _end(connection, changed.entity, [wait.version.id], wait.version.origin, "lost", at)


def _end(
    connection: Connection,
    entity: str,
    ids: Collection[str],
    node_id: str | None,
    why: Why,
    at: int,
) -> None:
    its = shared_conflict.c
    those = and_(its.fleet_id == FLEET, its.entity == entity, among(connection, its.id, ids))
    if node_id is not None:
        those = and_(those, its.node_id == node_id)
    of_waits = select(
        its.fleet_id, its.entity, its.id, its.rev, its.hlc, its.node_id, its.deleted, literal(value=False),
        literal(why), literal(at), its.body,
    ).where(those)  # fmt: skip
    _into_history(connection, of_waits)
    connection.execute(delete(shared_conflict).where(those))


def _into_history(connection: Connection, found: Select[tuple[object, ...]]) -> None:
    names = [column.name for column in shared_version.columns]
    connection.execute(shared_version.insert().from_select(names, found))


def _wait(connection: Connection, bodies: Bodies, changed: Changed, at: int) -> None:
    written: list[tuple[object, ...]] = []
    for wait in changed.waits.values():
        id_, rev, hlc, origin, deleted, body = wait.version
        sealed = b"" if deleted else bodies.seal(SHARED, body, changed.entity, id_, rev)
        written.append(
            (FLEET, changed.entity, id_, origin, rev, wait.base, hlc, deleted, at, sealed)
        )
    bulk.put(connection, shared_conflict, written)


def _count(connection: Connection, changed: Changed, marks: Mapping[str, int]) -> None:
    """Brings the entity's sums and numbers up to date."""
    before = standing(connection, changed.entity)
    sums, live, newest = before.sums, before.live, before.newest
    held, rows = changed.held, changed.rows
    for id_, now in marks.items():
        bucket = bucket_of(id_)
        row = rows[id_]
        old = 0
        if id_ in held:
            old = held[id_].mark
            live -= not held[id_].deleted
        live += not row.deleted
        newest = max(newest, row.rev)
        sums[bucket] = replaced(sums[bucket], old, now)
    found = {"live": live, "newest": newest, "sums": pack(sums)}
    statement = insert(connection, shared_entity).values(
        fleet_id=FLEET, entity=changed.entity, pruned_through=before.pruned_through, **found
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["fleet_id", "entity"], set_=found)
    )
