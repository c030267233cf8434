"""What never changes about one hub's database: its id and the key that signs cursors."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from skerry.hub.store.engine import insert
from skerry.hub.store.tables import FLEET, fact, log
from skerry.kit.clock import Clock
from skerry.kit.ids import random_token, uuid7


@dataclass(frozen=True)
class Facts:
    """Created once, with the database. The epoch is not among them: `store.changes` reads it."""

    hub_id: str
    cursor_key: bytes


def ensure(connection: Connection, clock: Clock) -> Facts:
    """The facts of this database, written first if it is new."""
    fresh = [
        {"name": "hub_id", "value": uuid7(clock)},
        {"name": "cursor_key", "value": random_token(32)},
    ]
    connection.execute(insert(connection, fact).on_conflict_do_nothing(), fresh)
    connection.execute(
        insert(connection, log).on_conflict_do_nothing(),
        {"fleet_id": FLEET, "epoch": 1, "seq": 0, "pruned_through": 0},
    )
    found = {row.name: row.value for row in connection.execute(select(fact.c.name, fact.c.value))}
    return Facts(found["hub_id"], bytes.fromhex(found["cursor_key"]))


def hub_id(connection: Connection) -> str:
    """The id of the hub whose database this is."""
    query = select(fact.c.value).where(fact.c.name == "hub_id")
    return str(connection.execute(query).scalar_one())
