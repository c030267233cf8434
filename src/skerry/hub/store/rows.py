"""Rows of synced state in the database, and their form on the wire."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, Row, Select, select

from skerry.hub.store.bodies import STATE, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.tables import FLEET, state
from skerry.wire.sync import StateRow

_COLUMNS = (
    state.c.scope, state.c.entity, state.c.id, state.c.rev, state.c.hlc, state.c.origin,
    state.c.deleted, state.c.body,
)  # fmt: skip


@dataclass(frozen=True)
class Scoped:
    """A row together with the node that it is for or comes from."""

    scope: str
    row: StateRow


def write(connection: Connection, rows: Sequence[Scoped], at: int) -> None:
    """Inserts or replaces `rows`. `at` is in ns since 1970."""
    if not rows:
        return
    bodies = Bodies.of(connection)
    statement = insert(connection, state)
    changed = {
        column.name: statement.excluded[column.name]
        for column in state.columns
        if not column.primary_key
    }
    keys = [column.name for column in state.primary_key]
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changed),
        [
            {
                "fleet_id": FLEET,
                "scope": item.scope,
                "entity": item.row.entity,
                "id": item.row.id,
                "rev": item.row.rev,
                "hlc": item.row.hlc,
                "origin": item.row.origin,
                "deleted": item.row.deleted,
                "updated_at": at,
                "body": bodies.seal(
                    STATE, bytes(item.row.body), item.scope, item.row.entity, item.row.id
                ),
            }
            for item in rows
        ],
    )


def find(connection: Connection, scope: str, entity: str, row_id: str) -> StateRow | None:
    """One row, tombstones too."""
    query = in_scope(scope, [entity]).where(state.c.id == row_id)
    found = connection.execute(query).one_or_none()
    return None if found is None else to_wire(Bodies.of(connection), found)


def in_scope(
    scope: str | BindParameter[Any], entities: Collection[str]
) -> Select[tuple[object, ...]]:
    """A query for all rows of one node, tombstones too; results go through `to_wire`."""
    its = state.c
    return select(*_COLUMNS).where(
        its.fleet_id == FLEET, its.scope == scope, its.entity.in_(entities)
    )


def to_wire(bodies: Bodies, row: Row[tuple[object, ...]]) -> StateRow:
    """A row of `in_scope` as it travels."""
    return StateRow(
        entity=row.entity,
        id=row.id,
        rev=row.rev,
        hlc=row.hlc,
        origin=row.origin,
        deleted=row.deleted,
        body=msgspec.Raw(bodies.open(STATE, row.body, row.scope, row.entity, row.id)),
    )
