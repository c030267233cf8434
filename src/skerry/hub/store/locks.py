"""Locks until the end of a transaction, for what several hub processes must not do at the same time on one PostgreSQL.

SQLite's writer has its file to itself, so there they are nothing. Order: a node's lock before the fleet's, and the audit log's
after all others (`HubStore.write_last`): whoever holds it waits for nothing.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from skerry.hub.store.tables import FLEET, log

_SCHEMA, _NODE, _PARTITIONS, _KEYS, _AUDIT = 18_600, 18_601, 18_602, 18_603, 18_604
_SSH = 18_610


_OF_FLEET = select(log.c.seq).where(log.c.fleet_id == FLEET).with_for_update()


def of_schema(connection: Connection) -> None:
    """Held while the database is migrated."""
    _advisory(connection, _SCHEMA, "")


def of_partitions(connection: Connection) -> None:
    """Held while partitions are created or dropped."""
    _advisory(connection, _PARTITIONS, "")


def of_node(connection: Connection, node_id: str) -> None:
    """Held while something that the node sent is compared with what is held of it."""
    _advisory(connection, _NODE, node_id)


def of_fleet(connection: Connection) -> None:
    """Held while somebody decides what nodes are told: begin with it, read after it."""
    _ = connection.execute(_OF_FLEET)


def of_audit(connection: Connection) -> None:
    """Held while entries are put at the end of the audit log."""
    _advisory(connection, _AUDIT, "")


def of_ssh(connection: Connection) -> None:
    """Held while an SSH certificate gets its number."""
    _advisory(connection, _SSH, "")


def of_keys(connection: Connection) -> None:
    """Held while the key ring is changed: waits for everybody who may be sealing with the keys of before."""
    _advisory(connection, _KEYS, "")


def of_sealing(connection: Connection) -> None:
    """Held by everybody who writes, beside each other: while it is held, the key ring stays as it is."""
    if connection.dialect.name == "postgresql":
        statement = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(''))")
        _ = connection.execute(statement, {"space": _KEYS})


def _advisory(connection: Connection, space: int, name: str) -> None:
    if connection.dialect.name == "postgresql":
        statement = text("SELECT pg_advisory_xact_lock(:space, hashtext(:name))")
        _ = connection.execute(statement, {"space": space, "name": name})
