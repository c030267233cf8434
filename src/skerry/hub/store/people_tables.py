"""The hub's tables of people: users, what they are signed in with, failed attempts, and roles of one's own (ADR 25)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from skerry.hub.store.tables import metadata

account = Table(
    "account", metadata,  # users; outlive their use, so that a name is one user's for ever
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # argon2id in PHC form; empty once deleted
    Column("version", Integer, nullable=False),  # rises with whatever ends the user's sessions
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("deleted_at", BigInteger),
)  # fmt: skip

sign_in = Table(
    "sign_in", metadata,  # sessions of browsers, and tokens of `skerry login`
    Column("hash", Text, primary_key=True),  # of the cookie or token, with a key of the administrator's token
    Column("fleet_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # browser | command
    Column("who", Text, nullable=False),  # a user, an API token, or the administrator
    Column("version", Integer, nullable=False),  # of the user when it began; 0 of the others
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("parent", Text, nullable=False, server_default=""),  # hash of the one that it ends with
    Index("sign_in_by_who", "fleet_id", "who"),
)  # fmt: skip

login_failure = Table(
    "login_failure", metadata,  # `trust.attempts.Count`, by the hash of what is counted
    Column("fleet_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("succeeded_at", BigInteger, nullable=False),
    Index("login_failure_by_age", "fleet_id", "last_at"),
)  # fmt: skip

access_role = Table(
    "access_role", metadata,  # of one's own; outlive their use, so that a name means one thing for ever
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("permissions", Text, nullable=False),  # words with spaces
    Column("labels", Text, nullable=False),  # JSON: of the nodes that it is for; empty: all
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("deleted_at", BigInteger),
)  # fmt: skip
