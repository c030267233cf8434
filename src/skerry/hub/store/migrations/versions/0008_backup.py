"""Which backups there are, and how far they have each lane."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Creates both tables. No lane is in a backup yet."""
    op.add_column("lane", sa.Column("backed_up", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "backup",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "backup_point",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("incarnation", sa.Text, primary_key=True),
        sa.Column("lane", sa.Text, primary_key=True),
        sa.Column("backup_id", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
