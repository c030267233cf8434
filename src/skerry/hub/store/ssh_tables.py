"""The hub's tables of developer access by SSH (ADR 26), beside those of `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from skerry.hub.store.tables import metadata

ssh_authority = Table(
    "ssh_authority", metadata,  # which keys all hubs of the database must have
    Column("fleet_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # user | host
    Column("public_key", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
)  # fmt: skip

ssh_node = Table(
    "ssh_node", metadata,  # a node whose sshd trusts the hub
    Column("fleet_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("host_key", Text, nullable=False),
    Column("limited", Text, nullable=False),  # the command that limited certificates are bound to
    Column("told_at", BigInteger, nullable=False),
)  # fmt: skip

ssh_certificate = Table(
    "ssh_certificate", metadata,  # of people; for ever, because what a node's sshd logs names the serial number
    Column("fleet_id", Text, primary_key=True),
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("who", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("limited", Boolean, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_by", Text, nullable=False, server_default=""),
    Index("ssh_certificate_by_node", "fleet_id", "node_id", "revoked_at"),
)  # fmt: skip
