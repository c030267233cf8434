"""One process per directory: an advisory lock that ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Held(Exception):
    """Another process has the lock; `holder` is its pid as text."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"held by process {holder}")
        self.holder = holder


def last_holder(path: Path) -> str:
    """The pid of whoever had `path` locked last, as text; empty: nobody yet, or we may not read it."""
    try:
        return path.read_text()[:20].strip()
    except OSError:
        return ""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds `path` locked, with our pid written in it. Raises Held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(os.read(fd, 20).decode().strip() or "unknown") from error
        with contextlib.suppress(
            OSError
        ):  # a full disk may have no room for the pid; the lock needs none
            os.truncate(fd, os.pwrite(fd, f"{os.getpid()}\n".encode(), 0))
        yield
    finally:
        os.close(fd)
