"""A directory for what a backup must not leave on its medium: a plain copy of the database, a password for pg_dump.

It lies in the data directory. One that a killed process left is removed by the next backup, whoever makes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".backup-"


@contextlib.contextmanager
def scratch_in(data_dir: Path) -> Iterator[Path]:
    """An empty directory that only we can read, until the block ends. Raises OSError."""
    for left in data_dir.glob(f"{_PREFIX}*"):
        _remove_unless_used(left)
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=data_dir))
    try:
        with _opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _remove_unless_used(path: Path) -> None:
    with contextlib.suppress(OSError), _opened(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
