"""The key that a revoked node had: by it the device is told to erase itself, once it is out of service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Adds the column; of a node that was revoked before, nobody knows it any more."""
    op.add_column("node", sa.Column("revoked_key_hash", sa.Text, nullable=False, server_default=""))
