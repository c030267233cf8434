"""Who decided conflicts of shared rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Creates the table. Of what was decided before, nobody knows who it was."""
    op.create_table(
        "shared_decision",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("entity", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("rev", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("shared_decision_by_age", "shared_decision", ["at"])
