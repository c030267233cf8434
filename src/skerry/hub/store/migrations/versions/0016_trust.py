"""Certificates: the fleet's roots, the keys of nodes, and enrolment tokens for many nodes or for certain ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"


def upgrade() -> None:
    """Adds tables and columns. A token that was used has no use left; nodes have no key until they enrol again."""
    op.create_table(
        "trust_root",
        sa.Column("fleet_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.Column("retired_at", sa.BigInteger),
    )
    op.create_table(
        "token_use",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    for column in (
        sa.Column("uses", sa.Integer, nullable=False, server_default="1"),
        sa.Column("used", sa.Integer, nullable=False, server_default="0"),
        sa.Column("labels", sa.Text, nullable=False, server_default="{}"),
        sa.Column("hardware", sa.Text, nullable=False, server_default=""),
        sa.Column("name_prefix", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("enrolment_token", column)
    for column in (
        sa.Column("given_labels", sa.Text, nullable=False, server_default="{}"),
        sa.Column("key_hash", sa.Text, nullable=False, server_default=""),
        sa.Column("certificate_serial", sa.Text, nullable=False, server_default=""),
        sa.Column("certificate_expires_at", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("certificate_root", sa.Integer, nullable=False, server_default="0"),
        sa.Column("trust_number", sa.Integer, nullable=False, server_default="0"),
        sa.Column("revoked_at", sa.BigInteger),
    ):
        op.add_column("node", column)
    op.add_column("hub_process", sa.Column("root", sa.Integer, nullable=False, server_default="0"))
    op.add_column(
        "hub_process", sa.Column("nodes_address", sa.Text, nullable=False, server_default="")
    )
    op.execute("UPDATE hub_process SET nodes_address = address")
    op.execute(
        "INSERT INTO token_use (hash, node_id, at) SELECT hash, used_by, used_at FROM enrolment_token "
        "WHERE used_by IS NOT NULL"
    )
    op.execute("UPDATE enrolment_token SET used = 1 WHERE used_by IS NOT NULL")
