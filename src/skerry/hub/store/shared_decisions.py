"""Who has decided conflicts of shared rows: kept as long as what rows were. `shared_writing` notes it, people read it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Select, select

from skerry.hub.store.shared import Stored, among
from skerry.hub.store.shared_tables import shared_conflict, shared_decision
from skerry.hub.store.tables import FLEET
from skerry.wire.rows import Decision


def waiting_among(connection: Connection, entity: str, ids: Collection[str]) -> set[str]:
    """Those of the rows that have something waiting."""
    its = shared_conflict.c
    query = select(its.id).where(
        its.fleet_id == FLEET, its.entity == entity, among(connection, its.id, ids)
    )
    return set(connection.execute(query).scalars())


def note(connection: Connection, entity: str, rows: Collection[Stored], who: str, at: int) -> None:
    """Notes that `who` has decided the conflicts of these rows by their present versions, at the origin of these."""
    written = [
        {
            "fleet_id": FLEET, "entity": entity, "id": row.id, "rev": row.rev, "node_id": row.origin, "who": who, "at": at,
        }
        for row in rows
    ]  # fmt: skip
    if written:
        connection.execute(shared_decision.insert(), written)


def newest(
    connection: Connection, called: Mapping[str, str], entity: str | None, limit: int
) -> list[Decision]:
    """The newest decisions, the newest first. `called` has the names of nodes, and of the hub."""
    query = _of(entity).order_by(shared_decision.c.at.desc(), shared_decision.c.rev.desc())
    return [_decision(called, row) for row in connection.execute(query.limit(limit))]


def of_row(
    connection: Connection, called: Mapping[str, str], entity: str, row_id: str
) -> dict[int, Decision]:
    """The decisions about one row, by the revision that each has made."""
    query = _of(entity).where(shared_decision.c.id == row_id)
    return {row.rev: _decision(called, row) for row in connection.execute(query)}


def _of(entity: str | None) -> Select[Any]:
    its = shared_decision.c
    query = select(shared_decision).where(its.fleet_id == FLEET)
    return query if entity is None else query.where(its.entity == entity)


def _decision(called: Mapping[str, str], row: Any) -> Decision:  # noqa: ANN401 - a row of the table
    where = called.get(row.node_id, row.node_id)
    return Decision(row.entity, row.id, row.rev, where, row.who, row.at)
