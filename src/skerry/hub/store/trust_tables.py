"""The hub's tables about certificates and enrolment (ADR 24), beside those of `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from skerry.hub.store.tables import metadata

trust_root = Table(
    "trust_root", metadata,  # certificates of the fleet's roots, the oldest first
    Column("fleet_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("pem", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),  # since then nobody believes it
)  # fmt: skip

token_use = Table(
    "token_use", metadata,  # which nodes an enrolment token has enrolled
    Column("hash", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)  # fmt: skip
