"""What the hub keeps of its nodes' audit logs, as their witness, and what they keep of its own, as its witnesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_REFUSED = "the audit log is append-only"
_TABLES = {
    "node_audit": "node_id = NEW.node_id AND branch = NEW.branch AND seq >= NEW.seq",
    "node_audit_head": "node_id = NEW.node_id AND n >= NEW.n",
}


def upgrade() -> None:
    """Creates the tables, those of evidence with their triggers."""
    op.create_table(
        "node_audit",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("branch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.BigInteger, nullable=False),
        sa.Column("of", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("prev", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.create_table(
        "node_audit_head",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("branch", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=False),
        sa.Column("finding", sa.Text, nullable=False),
    )
    op.create_table(
        "node_audit_accepted",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("branch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
    )
    op.create_table(
        "hub_witness",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("hub_id", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    for table, later in _TABLES.items():
        for statement in _sqlite(table, later) if _on_sqlite() else _postgresql(table):
            op.execute(statement)


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _sqlite(table: str, later: str) -> tuple[str, ...]:
    there = f"SELECT 1 FROM {table} WHERE {later}"  # noqa: S608 - our own words
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        # INSERT OR REPLACE deletes without asking the trigger for deletions.
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS ({there}) {refuse}",
    )


def _postgresql(table: str) -> tuple[str, ...]:
    """`audit_refuses` is from 0014."""
    return (
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_refuses()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()",
    )
