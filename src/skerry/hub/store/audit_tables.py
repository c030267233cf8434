"""The hub's tables of its nodes' audit logs (ADR 30). Triggers refuse to change or remove what is evidence.

A node's chain is kept in branches: one that contradicts what was kept begins the next, from nothing, and the one before stays.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from skerry.hub.store.tables import metadata

node_audit = Table(
    "node_audit", metadata,  # a node's entries, as `audit` has the hub's; append-only
    Column("node_id", Text, primary_key=True),
    Column("branch", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", BigInteger, nullable=False),
    Column("of", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
)  # fmt: skip

node_audit_head = Table(
    "node_audit_head", metadata,  # every head that a node has told, as it came; append-only
    Column("node_id", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("branch", Integer, nullable=False),  # that it was judged by
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # the node's time
    Column("received_at", BigInteger, nullable=False),
    Column("key", Text, nullable=False),  # empty: unsigned
    Column("signature", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("turn", BigInteger, nullable=False),
    Column("finding", Text, nullable=False),  # what it contradicts; the next branch begins then. Empty: nothing
)  # fmt: skip

node_audit_accepted = Table(
    "node_audit_accepted", metadata,  # a person has looked into what was found before this branch
    Column("node_id", Text, primary_key=True),
    Column("branch", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
)  # fmt: skip

hub_witness = Table(
    "hub_witness", metadata,  # heads of the hub's own log as nodes have shown them last
    Column("node_id", Text, primary_key=True),
    Column("hub_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)  # fmt: skip
