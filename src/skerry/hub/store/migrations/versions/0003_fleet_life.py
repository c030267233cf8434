"""Earlier versions of workloads, and changes that go through the fleet in waves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates both tables. What workloads are now becomes their first known version."""
    op.create_table(
        "workload_version",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("source", sa.Integer),
        sa.Column("spec", sa.LargeBinary, nullable=False),
    )
    op.execute(
        "INSERT INTO workload_version (fleet_id, name, number, epoch, generation, at, who, change, spec) "
        "SELECT fleet_id, name, 1, epoch, generation, updated_at, '', 'create', spec FROM workload"
    )
    op.create_table(
        "rollout",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
