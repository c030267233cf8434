"""Encryption at rest: a row for the sealed data keys, and one for the key of each sealed blob (ADR 0014)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Creates both tables; nothing is sealed before encryption is switched on."""
    op.create_table(
        "key_ring",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("written", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "blob_key",
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
    )
