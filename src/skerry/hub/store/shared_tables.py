"""The hub's tables of shared rows (ADR 18), beside those of `tables`; the scope of everything is the fleet.

`rev` comes from `log` like the numbers of `change`, one for each version, so that a row is its own entry in the log:
the feed of an entity is its index by `rev`. Versions that never were the row, because they lost or wait, have a `rev`
as their name alone. Bodies of all tables are sealed for (entity, id, rev), so a version moves from one to another as it is.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text

from skerry.hub.store.tables import metadata

shared_row = Table(
    "shared_row", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("rev", BigInteger, nullable=False),
    Column("hlc", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),  # the node that made this version; empty: the hub
    Column("deleted", Boolean, nullable=False),
    Column("mark", BigInteger, nullable=False),  # core.merging.mark less 2^63; of a deleted row 0
    Column("updated_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # of a deleted row empty
    Index("shared_row_by_rev", "fleet_id", "entity", "rev"),
)  # fmt: skip

Index(
    "shared_row_deleted", shared_row.c.updated_at,
    sqlite_where=shared_row.c.deleted, postgresql_where=shared_row.c.deleted,
)  # fmt: skip

shared_version = Table(
    "shared_version", metadata,  # what a row was, and what was not taken
    Column("fleet_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("rev", BigInteger, primary_key=True, autoincrement=False),
    Column("hlc", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("was_row", Boolean, nullable=False),  # whether it ever was the row
    Column("why", Text, nullable=False),  # superseded | lost | decided
    Column("at", BigInteger, nullable=False),  # when that happened
    Column("body", LargeBinary, nullable=False),
    Index("shared_version_by_age", "at"),
)  # fmt: skip

shared_conflict = Table(
    "shared_conflict", metadata,  # an edit that waits until a person decides: one of each node for a row
    Column("fleet_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    Column("rev", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False),  # the revision that the edit was made on, 0: none
    Column("hlc", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)  # fmt: skip

shared_decision = Table(
    "shared_decision", metadata,  # who has decided what waited for a row, by its revision `rev`
    Column("fleet_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("rev", BigInteger, primary_key=True, autoincrement=False),
    Column("node_id", Text, nullable=False),  # where; empty: at the hub
    Column("who", Text, nullable=False),  # as the hub knows whoever asked; of a node's decision empty
    Column("at", BigInteger, nullable=False),
    Index("shared_decision_by_age", "at"),
)  # fmt: skip

shared_entity = Table(
    "shared_entity", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("live", BigInteger, nullable=False),  # that are not deleted
    Column("newest", BigInteger, nullable=False),  # the highest revision of its rows
    Column("pruned_through", BigInteger, nullable=False),  # up to here, deleted rows may be missing
    Column("sums", LargeBinary, nullable=False),  # core.row_digests.pack
)  # fmt: skip

shared_commit = Table(
    "shared_commit", metadata,  # the transactions that changed shared rows: what binds cursors to this history
    Column("fleet_id", Text, primary_key=True),
    Column("last", BigInteger, primary_key=True, autoincrement=False),  # its revisions are first … last
    Column("first", BigInteger, nullable=False),
    Column("tag", Text, nullable=False),  # random
    Column("at", BigInteger, nullable=False),
    Index("shared_commit_by_age", "at"),
)  # fmt: skip

shared_answer = Table(
    "shared_answer", metadata,  # what a frame's edits were answered, until the node goes on: a repeat is told the same
    Column("node_id", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # store.shared_answers
    Index("shared_answer_by_age", "at"),
)  # fmt: skip
