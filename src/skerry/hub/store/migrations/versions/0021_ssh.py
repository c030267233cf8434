"""Developer access by SSH: the authority's keys, the nodes that trust it, and people's certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "ssh_authority",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ssh_node",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("host_key", sa.Text, nullable=False),
        sa.Column("limited", sa.Text, nullable=False),
        sa.Column("told_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ssh_certificate",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("limited", sa.Boolean, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_by", sa.Text, nullable=False, server_default=""),
    )
    op.create_index(
        "ssh_certificate_by_node", "ssh_certificate", ["fleet_id", "node_id", "revoked_at"]
    )
