"""Several hub processes on one database; PostgreSQL keeps records in partitions by kind and time (ADR 0012)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"

_KINDS = ("measurement", "event", "gap")
_COLUMNS = "series_id, at, session_id, counter, batch_id, meta_id, type, integer, double, text"


def upgrade() -> None:
    """Creates the tables, and gives every record its kind."""
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "hub_process",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "live_link",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("hub", sa.Text, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "login_code",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        _partition()
    else:
        op.execute("ALTER TABLE record ADD COLUMN kind SMALLINT NOT NULL DEFAULT 0")
        op.execute(
            "UPDATE record SET kind = CASE (SELECT kind FROM series WHERE id = series_id) "
            "WHEN 'event' THEN 1 ELSE 2 END "
            "WHERE series_id IN (SELECT id FROM series WHERE kind <> 'measurement')"
        )


def _partition() -> None:
    op.execute("ALTER TABLE record RENAME TO record_before")
    op.execute("ALTER TABLE record_before RENAME CONSTRAINT record_pkey TO record_before_pkey")
    op.execute("DROP INDEX record_by_batch")
    op.execute(
        """
        CREATE TABLE record (
            series_id BIGINT NOT NULL REFERENCES series (id),
            at BIGINT NOT NULL,
            session_id BIGINT NOT NULL,
            counter BIGINT NOT NULL,
            batch_id BIGINT NOT NULL,
            meta_id BIGINT,
            type SMALLINT NOT NULL,
            integer BIGINT,
            double DOUBLE PRECISION,
            text TEXT,
            kind SMALLINT NOT NULL,
            PRIMARY KEY (series_id, at, session_id, counter, kind)
        ) PARTITION BY LIST (kind)
        """
    )
    op.execute("CREATE INDEX record_by_batch ON record USING brin (batch_id) WITH (autosummarize)")
    for code, kind in enumerate(_KINDS):
        op.execute(
            f"CREATE TABLE record_{kind} PARTITION OF record FOR VALUES IN ({code}) PARTITION BY RANGE (at)"
        )
        op.execute(f"CREATE TABLE record_{kind}_default PARTITION OF record_{kind} DEFAULT")
    op.execute(
        f"INSERT INTO record SELECT {_COLUMNS}, "  # noqa: S608 - our own names
        "CASE series.kind WHEN 'measurement' THEN 0 WHEN 'event' THEN 1 ELSE 2 END "
        "FROM record_before JOIN series ON series.id = series_id"
    )
    op.execute("DROP TABLE record_before")
