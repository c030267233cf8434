"""Files: one row for each record that names one, one for each content, and where chunks lie in contents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates the three tables, and room for the kind of records that name files."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE record_file PARTITION OF record FOR VALUES IN (3) PARTITION BY RANGE (at)"
        )
        op.execute("CREATE TABLE record_file_default PARTITION OF record_file DEFAULT")
    op.create_table(
        "file",
        sa.Column("session_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("counter", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("fleet_id", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("meta", sa.Text),
    )
    op.create_index("file_by_content", "file", ["fleet_id", "sha256", "node_id"])
    op.create_index("file_by_time", "file", ["fleet_id", "at"])
    op.create_index("file_by_age", "file", ["received_at"])
    op.create_table(
        "file_content",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.BigInteger, nullable=False),
        sa.Column("arrived_at", sa.BigInteger),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("tail", sa.LargeBinary, nullable=False),
        sa.Column("tail_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "file_chunk",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.create_index("file_chunk_by_content", "file_chunk", ["fleet_id", "content"])
