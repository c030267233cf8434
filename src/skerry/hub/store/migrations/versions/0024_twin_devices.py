"""As which device Cyberwave's twins know a node, and what drivers answer to commands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Adds the columns; a node tells its fingerprint when its agent is next there."""
    op.add_column("node", sa.Column("fingerprint", sa.Text, nullable=False, server_default=""))
    op.add_column("command", sa.Column("reply", sa.LargeBinary))
