"""A hub's tables in SQLite, made once a process: to make them anew is most of what a hub's first start costs a test."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from skerry.hub.store.engine import parse_url, writer_engine
from skerry.hub.store.schema import migrate


def put_tables(path: Path) -> None:
    """A database with a hub's tables, which no hub has used, where there is none."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_tables())


@functools.cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory(prefix="sk-") as directory:
        path = Path(directory) / "hub.db"
        engine = writer_engine(parse_url(f"sqlite:///{path}"))
        with engine.begin() as connection:
            migrate(connection)
        engine.dispose()
        assert not path.with_name("hub.db-wal").exists()
        return path.read_bytes()
