"""Devices before they enrol and after they were taken out of service, and orders to nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Creates the tables; nodes that are there need no row in either."""
    op.create_table(
        "device",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fleet_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("registered_at", sa.BigInteger, nullable=False),
        sa.Column("registered_by", sa.Text, nullable=False),
        sa.Column("ip_address", sa.Text, nullable=False),
        sa.Column("ssh_user", sa.Text, nullable=False),
        sa.Column("token_hash", sa.Text),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("enrolled_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.Text),
        sa.Column("key_hash", sa.Text),
        sa.Column("erased_at", sa.BigInteger, nullable=False),
        sa.Column("erasure", sa.LargeBinary),
    )
    op.create_index("device_by_name", "device", ["fleet_id", "name"])
    op.create_index("device_by_token", "device", ["token_hash"])
    op.create_index("device_by_decision", "device", ["fleet_id", "decision"])
    op.create_table(
        "command",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fleet_id", sa.Text, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("command_by_node", "command", ["fleet_id", "node_id", "issued_at"])
    op.create_index("command_by_state", "command", ["fleet_id", "state"])
    op.create_table(
        "device_change",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
