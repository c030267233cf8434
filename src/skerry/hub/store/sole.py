"""One process at a time for a database in a file. PostgreSQL may have several: there this is nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL

from skerry.kit.errors import Refused
from skerry.kit.file_lock import Held, locked


@contextlib.contextmanager
def only_user(url: URL) -> Iterator[None]:
    """Has the database to itself within the block. Raises Refused when a hub, or a restore, has it."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(url.database or "")
    try:
        with locked(path.with_name(f"{path.name}.lock")):
            yield
    except Held as error:
        raise Refused(
            f"cannot open {path}: process {error.holder} works on it. Stop that hub first; several hubs need PostgreSQL."
        ) from error
    except OSError as error:
        raise Refused(
            f"cannot open {path}: {error.strerror}. Create the directory for the hub's user, or give another path."
        ) from error
