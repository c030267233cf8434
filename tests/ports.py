"""Ports of loopback for servers of tests: below those that the system gives to clients, or one of these would have it first.

Who has chosen one has it until its process ends, though it may listen much later: others choose again, as long as they
use these functions.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

_FIRST, _END = 10_000, 32_000

_mine: set[int] = set()


def free_port() -> int:
    """One that nobody has at the moment."""
    return _free(1)


def free_pair() -> int:
    """As `free_port`, and nobody has the next one either: `skerry up` takes both."""
    return _free(2)


def _free(count: int) -> int:
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(_FIRST, _END)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for each in range(port, port + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", each))
                _choose(each)
            return port


def _choose(port: int) -> None:
    """Raises OSError when this process or another has chosen it before."""
    if port in _mine:
        raise FileExistsError
    fcntl.lockf(_choices(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    _mine.add(port)


@functools.cache
def _choices() -> int:
    """A file in which each port has a byte, that is locked by who has chosen it; such locks end with their process."""
    path = Path(tempfile.gettempdir(), f"skerry-test-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
