"""What never changes about one hub's database: its id, and the keys that sign cursors and tell sealed metas apart."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from skerry.hub.store.bodies import FACT, SEALED, SEALED_FACTS, Bodies
from skerry.hub.store.engine import insert
from skerry.hub.store.tables import FLEET, fact, log
from skerry.kit.clock import Clock
from skerry.kit.ids import random_token, uuid7


@dataclass(frozen=True)
class Facts:
    """Created once, with the database. The epoch is not among them: `store.changes` reads it."""

    hub_id: str
    cursor_key: bytes
    index_key: bytes = b""
    """For hashes of sealed texts, so that they confirm no guess; empty where nothing is sealed."""


def ensure(connection: Connection, clock: Clock) -> Facts:
    """The facts of this database, written first if it is new."""
    bodies = Bodies.of(connection)
    fresh = {"hub_id": uuid7(clock), "cursor_key": random_token(32)}
    if bodies.seals:
        fresh["index_key"] = random_token(32)
    connection.execute(
        insert(connection, fact).on_conflict_do_nothing(),
        [{"name": name, "value": _stored(bodies, name, text)} for name, text in fresh.items()],
    )
    connection.execute(
        insert(connection, log).on_conflict_do_nothing(),
        {"fleet_id": FLEET, "epoch": 1, "seq": 0, "pruned_through": 0},
    )
    query = select(fact.c.name, fact.c.value)
    found = {
        row.name: bodies.open_text(FACT, row.value, row.name)
        if row.name in SEALED_FACTS
        else row.value
        for row in connection.execute(query)
    }
    return Facts(
        found["hub_id"],
        bytes.fromhex(found["cursor_key"]),
        bytes.fromhex(found["index_key"]) if bodies.seals else b"",
    )


def are_sealed(connection: Connection) -> bool:
    """Whether this is a store with encryption at rest, whose keys must be there then."""
    query = select(fact.c.name).where(fact.c.value.startswith(SEALED))
    return connection.execute(query).first() is not None


def _stored(bodies: Bodies, name: str, text: str) -> str:
    return bodies.seal_text(FACT, text, name) if name in SEALED_FACTS else text


def hub_id(connection: Connection) -> str:
    """The id of the hub whose database this is."""
    query = select(fact.c.value).where(fact.c.name == "hub_id")
    return str(connection.execute(query).scalar_one())
