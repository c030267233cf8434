"""Sealing rows of the hub's database again: the search for bodies that are not under the key in force, and one step.

A row is changed only while its body is what was read, so what others write meanwhile stays. `rotation` searches with
the readers and changes with the writer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, update

from skerry.hub.store.bodies import FACT, META, SEALED, SEALED_FACTS, SMALL, TEXT, Bodies, Body
from skerry.hub.store.tables import (
    FLEET,
    VALUE_QUOTED,
    VALUE_SEALED,
    VALUE_TEXT,
    batch,
    fact,
    record,
)
from skerry.kit.ids import random_token

_HASH_BYTES = 16


def stale_rows(
    connection: Connection, body: Body, head: bytes, batches: tuple[int, int] | None, limit: int
) -> Sequence[Row[Any]]:
    """Up to `limit` rows whose body is not under the key in force, for `reseal`; of records only those of `batches`.

    `head` begins what is up to date; of the batches first and last number are given, None: all.
    """
    query = _stale(body, head)
    if body is TEXT:
        query = query.add_columns(record.c.type)
    if batches is not None:
        query = query.where(record.c.batch_id.between(*batches))
    return connection.execute(query.limit(limit)).all()


def reseal(connection: Connection, body: Body, rows: Sequence[Row[Any]]) -> None:
    """Seals the bodies of these rows again, where they are still the same. Raises Corrupt when one does not open."""
    bodies = Bodies.of(connection)
    for row in rows:
        names = tuple(row._mapping[name] for name in body.row)  # noqa: SLF001 - SQLAlchemy's public one
        its = [body.table.c[name] == value for name, value in zip(body.row, names, strict=True)]
        if "fleet_id" in body.table.primary_key.columns:
            its.append(body.table.c.fleet_id == FLEET)  # with which the index begins
        change = update(body.table).where(*its, body.column == row.body)
        connection.execute(change.values(_sealed(bodies, body, row, names)))


def newest_batch(connection: Connection) -> int:
    """Batches that begin later are under the key in force."""
    return connection.execute(select(func.max(batch.c.id))).scalar() or 0


def next_batch(connection: Connection, first: int) -> int | None:
    """The lowest number of a batch from `first` on."""
    return connection.execute(select(func.min(batch.c.id)).where(batch.c.id >= first)).scalar()


def count_stale(connection: Connection, head: bytes) -> int:
    """How many bodies are not under the key in force. Reads every record."""
    queries = [_stale(body, head).subquery() for body in (*SMALL, TEXT)]
    return sum(
        connection.execute(select(func.count()).select_from(each)).scalar_one() for each in queries
    )


def _stale(body: Body, head: bytes) -> Select[Any]:
    row = [body.table.c[name] for name in body.row]
    query = select(body.column.label("body"), *row).where(_is_stale(body, head))
    return query.where(fact.c.name.in_(SEALED_FACTS)) if body is FACT else query


def _is_stale(body: Body, head: bytes) -> ColumnElement[bool]:
    if not body.is_text:
        return and_(body.column != b"", func.substr(body.column, 1, len(head)) != head)
    # Six bytes are eight characters: all texts under one key begin alike.
    begins = SEALED + base64.b64encode(head).decode()
    stale = func.substr(body.column, 1, len(begins)) != begins
    if body is not TEXT:
        return stale
    return or_(
        record.c.type.in_((VALUE_TEXT, VALUE_QUOTED)),
        and_(record.c.type == VALUE_SEALED, stale),
    )


def _sealed(bodies: Bodies, body: Body, row: Row[Any], names: tuple[Any, ...]) -> dict[str, object]:
    column = body.column.name
    if not body.is_text:
        return {column: bodies.seal(body, bodies.open(body, row.body, *names), *names)}
    if body is TEXT:
        return {
            column: bodies.seal_text(body, _record_text(bodies, row, names), *names),
            "type": VALUE_SEALED,
        }
    plain = bodies.open_text(body, row.body, *names)
    if body is META and not row.body.startswith(SEALED):
        # Its hash confirms a guess of the text: this one says nothing, and no new record asks for it.
        names = (random_token(_HASH_BYTES),)
        return {column: bodies.seal_text(body, plain, *names), "hash": names[0]}
    return {column: bodies.seal_text(body, plain, *names)}


def _record_text(bodies: Bodies, row: Row[Any], names: tuple[Any, ...]) -> str:
    if row.type == VALUE_SEALED:
        return bodies.open_sealed_text(TEXT, row.body, *names)
    bodies.permit_plain(TEXT, *names)
    text: str = row.body
    return msgspec.json.decode(text, type=str) if row.type == VALUE_QUOTED else text
