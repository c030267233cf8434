"""Writes what was decided about shared rows of one entity: rows, what they were, what lost, what waits, and the sums.

Rows and versions come with their revisions; `commit` binds them to this history. Superseded rows move to
`shared_version` inside the database, as they are sealed.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    literal,
    select,
)

from skerry.core.merging import marks
from skerry.core.row_digests import pack, summed
from skerry.hub.store import bulk, notices, shared_decisions
from skerry.hub.store.bodies import SHARED, Bodies
from skerry.hub.store.shared import (
    MARK_ZERO,
    Head,
    Standing,
    Stored,
    among,
    among_given,
    listed,
)
from skerry.hub.store.shared_tables import (
    shared_commit,
    shared_conflict,
    shared_entity,
    shared_row,
    shared_version,
)
from skerry.hub.store.tables import FLEET
from skerry.kit.ids import random_token
from skerry.kit.sealing.cipher import Row

_TAG_BYTES = 8
_COMMIT = shared_commit.insert()

_COUNTED_FROM = 256

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
    who: str = ""
    """Who decides, as the hub knows whoever asked for these changes."""


def write(connection: Connection, changed: Changed, before: Standing, at: int) -> None:
    """Writes all of it. `before` is how the entity stands until then; `at` is in ns since 1970."""
    replaced_ids = changed.held.keys() & changed.rows.keys()
    _remember(connection, changed.entity, replaced_ids - changed.lost, "superseded", at)
    _remember(connection, changed.entity, replaced_ids & changed.lost, "lost", at)
    bodies = Bodies.of(connection)
    come = _write_rows(connection, bodies, changed, at)
    _keep(connection, bodies, changed, at)
    _end_waits(connection, changed, at)
    _wait(connection, bodies, changed, at)
    if come:
        _count(connection, changed, before, come)


def commit(
    connection: Connection, first: int, last: int, entities: Collection[str], at: int
) -> None:
    """Notes that the revisions `first` to `last` are of this transaction, and tells other processes about it."""
    row = {"last": last, "first": first, "tag": random_token(_TAG_BYTES), "at": at}
    connection.execute(_COMMIT, {"fleet_id": FLEET, **row})
    if entities:
        notices.tell(connection, notices.Shared(sorted(entities)))


def _write_rows(
    connection: Connection, bodies: Bodies, changed: Changed, at: int
) -> Mapping[str, int]:
    """The marks of the rows; 0 for deleted ones."""
    entity, rows = changed.entity, changed.rows.values()
    sealed = _sealed(bodies, entity, rows)
    hashed = marks((row.id for row in rows), (row.rev for row in rows), (row.body for row in rows))
    written = [
        (FLEET, entity, id_, rev, hlc, origin, gone, 0 if gone else its - MARK_ZERO, at, body)
        for (id_, rev, hlc, origin, gone, _), its, body in zip(rows, hashed, sealed, strict=True)
    ]
    bulk.put(connection, shared_row, written)
    return {row.id: 0 if row.deleted else its for row, its in zip(rows, hashed, strict=True)}


def _sealed(bodies: Bodies, entity: str, versions: Collection[Stored]) -> list[bytes]:
    """Their bodies as they are stored."""
    live: list[Row] = [
        ((version.id, str(version.rev)), version.body)
        for version in versions
        if not version.deleted
    ]
    sealed = bodies.seal_rows(SHARED, live, entity)
    if len(live) == len(versions):
        return sealed
    each = iter(sealed)
    return [b"" if version.deleted else next(each) for version in versions]


def _remember(connection: Connection, entity: str, ids: Collection[str], why: Why, at: int) -> None:
    """Copies rows to the history, before they are replaced."""
    if not ids:
        return
    asked = {"of": entity, "those": listed(connection, ids), "because": why, "noted": at}
    connection.execute(_remembering(connection.dialect.name), asked)


@functools.cache
def _remembering(dialect: str) -> Insert:
    """Made once, as what every push runs."""
    its = shared_row.c
    of_rows = select(
        its.fleet_id, its.entity, its.id, its.rev, its.hlc, its.origin, its.deleted, literal(value=True),
        bindparam("because", type_=Text()), bindparam("noted", type_=BigInteger()), its.body,
    ).where(
        its.fleet_id == FLEET,
        its.entity == bindparam("of"),
        among_given(dialect, its.id, lambda kind: bindparam("those", type_=kind)),
    )  # fmt: skip
    return _to_history(of_rows)


def _keep(connection: Connection, bodies: Bodies, changed: Changed, at: int) -> None:
    written: list[tuple[object, ...]] = []
    bodies_kept = _sealed(bodies, changed.entity, [kept.version for kept in changed.kept])
    for kept, sealed in zip(changed.kept, bodies_kept, strict=True):
        id_, rev, hlc, origin, deleted, _ = kept.version
        written.append(
            (FLEET, changed.entity, id_, rev, hlc, origin, deleted, kept.was_row, kept.why, at, sealed)
        )  # fmt: skip
    bulk.insert_new(connection, shared_version, written)


def _end_waits(connection: Connection, changed: Changed, at: int) -> None:
    """What waited for rows that are decided, and what a later edit of the same node takes the place of."""
    if changed.settled:
        _note_decisions(connection, changed, at)
        _end(connection, changed.entity, changed.settled, None, "decided", at)
    for wait in changed.waits.values():
        _end(connection, changed.entity, [wait.version.id], wait.version.origin, "lost", at)


def _note_decisions(connection: Connection, changed: Changed, at: int) -> None:
    """Of the rows for which something waits, here or until an edit of the same unit."""
    decided = shared_decisions.waiting_among(connection, changed.entity, changed.settled)
    decided |= {kept.version.id for kept in changed.kept if kept.why == "decided"}
    rows = [changed.rows[row_id] for row_id in sorted(decided & changed.rows.keys())]
    shared_decisions.note(connection, changed.entity, rows, changed.who, at)


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
    connection.execute(_to_history(of_waits))
    connection.execute(delete(shared_conflict).where(those))


def _to_history(found: Select[tuple[object, ...]]) -> Insert:
    names = [column.name for column in shared_version.columns]
    return shared_version.insert().from_select(names, found)


def _wait(connection: Connection, bodies: Bodies, changed: Changed, at: int) -> None:
    written: list[tuple[object, ...]] = []
    waits = changed.waits.values()
    bodies_kept = _sealed(bodies, changed.entity, [wait.version for wait in waits])
    for wait, sealed in zip(waits, bodies_kept, strict=True):
        id_, rev, hlc, origin, deleted, _ = wait.version
        written.append(
            (FLEET, changed.entity, id_, origin, rev, wait.base, hlc, deleted, at, sealed)
        )
    bulk.put(connection, shared_conflict, written)


def _count(
    connection: Connection, changed: Changed, before: Standing, come: Mapping[str, int]
) -> None:
    """Brings the entity's sums and numbers up to date."""
    replaced = [head for id_, head in changed.held.items() if id_ in come]
    live = before.live + sum(not row.deleted for row in changed.rows.values())
    live -= sum(not head.deleted for head in replaced)
    newest = max(before.newest, *(row.rev for row in changed.rows.values()))
    gone = [(head.id, head.mark) for head in replaced]
    sums = pack(summed(before.sums, come.items(), gone))
    row = (FLEET, changed.entity, live, newest, before.pruned_through, sums)
    bulk.put(connection, shared_entity, [row], but=["pruned_through"])
    if live >= _COUNTED_FROM and live.bit_length() > before.live.bit_length():
        _let_count(connection)


def _let_count(connection: Connection) -> None:
    """Each time that an entity has doubled. PostgreSQL counts a new table's rows by itself only after a minute.

    Until then it takes the index by revision for as good a way to a row as the primary key, and every push compares each
    row of the entity with each of its ids.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE (SKIP_LOCKED) shared_row")
