"""Paths of UNIX sockets: the kernel takes 107 bytes and no more."""

from __future__ import annotations

from pathlib import Path

from skerry.kit.errors import InvalidInput

MAX_BYTES = 107


def checked_socket_path(path: Path) -> Path:
    """`path`, if a socket can be made or reached there. Raises InvalidInput saying how many bytes are too many."""
    size = len(str(path).encode())
    if size > MAX_BYTES:
        raise InvalidInput(
            f"cannot use the socket path {path}: it has {size} bytes, UNIX sockets take at most {MAX_BYTES}. "
            f"Choose a data directory whose path is at least {size - MAX_BYTES} bytes shorter."
        )
    return path
