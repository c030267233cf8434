"""The first schema: fleet, workloads, synced state and its log, lanes, records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text(name: str, *, key: bool = False, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=optional)


def _big(name: str, *, key: bool = False, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=optional, autoincrement=False)


def _id() -> sa.Column[int]:
    return sa.Column("id", _BIG_ID, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Creates every table."""
    _fleet()
    _synced_state()
    _record_dictionaries()
    _records()


def _fleet() -> None:
    op.create_table("fact", _text("name", key=True), _text("value"))
    op.create_table(
        "enrolment_token",
        _text("hash", key=True),
        _text("fleet_id"),
        _big("created_at"),
        _big("expires_at"),
        _big("used_at", optional=True),
        _text("used_by", optional=True),
    )
    op.create_table(
        "node",
        _text("id", key=True),
        _text("fleet_id"),
        _text("name"),
        _text("labels"),
        _text("secret_hash"),
        _text("version"),
        _big("enrolled_at"),
        _big("last_seen"),
        sa.UniqueConstraint("fleet_id", "name"),
    )
    op.create_table(
        "workload",
        _text("fleet_id", key=True),
        _text("name", key=True),
        _big("epoch"),
        _big("generation"),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        _big("updated_at"),
    )


def _synced_state() -> None:
    op.create_table(
        "state",
        _text("fleet_id", key=True),
        _text("scope", key=True),
        _text("entity", key=True),
        _text("id", key=True),
        _big("rev"),
        _big("hlc"),
        _text("origin"),
        sa.Column("deleted", sa.Boolean, nullable=False),
        _big("updated_at"),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("state_by_row", "state", ["fleet_id", "entity", "id"])
    op.create_table(
        "log", _text("fleet_id", key=True), _big("epoch"), _big("seq"), _big("pruned_through")
    )
    op.create_table(
        "change",
        _text("fleet_id", key=True),
        _big("seq", key=True),
        _text("tag"),
        _text("scope"),
        _text("entity"),
        _text("id"),
        _text("origin"),
        _big("at"),
    )
    op.create_index("change_by_row", "change", ["fleet_id", "scope", "entity", "id", "seq"])
    op.create_index("change_by_time", "change", ["at"])
    op.create_table(
        "lane",
        _text("node_id", key=True),
        _text("incarnation", key=True),
        _text("lane", key=True),
        _big("n"),
        _text("chain"),
        _big("updated_at"),
    )


def _record_dictionaries() -> None:
    op.create_table(
        "series",
        _id(),
        _text("fleet_id"),
        _text("node_id"),
        _text("source"),
        _text("kind"),
        _text("name"),
        _big("used_at"),
        sa.UniqueConstraint("node_id", "source", "kind", "name"),
    )
    op.create_table(
        "session",
        _id(),
        _text("node_id"),
        _text("token"),
        _big("used_at"),
        sa.UniqueConstraint("node_id", "token"),
    )
    op.create_table(
        "meta",
        _id(),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        _text("json"),
        _big("used_at"),
    )


def _records() -> None:
    op.create_table(
        "batch",
        _id(),
        _text("kind"),
        _text("boot_id"),
        _big("accepted_at"),
        _big("monotonic"),
        _text("quality"),
        _big("received_at"),
    )
    op.create_index("batch_by_age", "batch", ["kind", "received_at"])
    op.create_table(
        "record",
        sa.Column("series_id", sa.BigInteger, sa.ForeignKey("series.id"), primary_key=True),
        _big("at", key=True),
        _big("session_id", key=True),
        _big("counter", key=True),
        _big("batch_id"),
        _big("meta_id", optional=True),
        sa.Column("type", sa.SmallInteger, nullable=False),
        _big("integer", optional=True),
        sa.Column("double", sa.Double),
        _text("text", optional=True),
        sqlite_with_rowid=False,
    )
    op.create_index("record_by_batch", "record", ["batch_id"])
