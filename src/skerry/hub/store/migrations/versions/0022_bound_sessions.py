"""What a browser's session, or the code that begins one, hangs on: a token of `skerry login`, and its end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Adds the columns; what is there hangs on nothing."""
    for table in ("sign_in", "login_code"):
        op.add_column(table, sa.Column("parent", sa.Text, nullable=False, server_default=""))
    op.add_column(
        "login_code", sa.Column("until", sa.BigInteger, nullable=False, server_default="0")
    )
