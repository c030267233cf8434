"""Manifests and tails of files that have not arrived whole: from now on a byte before them says that they are plain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Forgets those that are there: nodes are asked for them again."""
    content = sa.table(
        "file_content", sa.column("manifest", sa.LargeBinary), sa.column("tail", sa.LargeBinary)
    )
    there = sa.or_(content.c.manifest != b"", content.c.tail != b"")
    op.execute(sa.update(content).where(there).values(manifest=b"", tail=b""))
