"""Ports of loopback for servers of tests: below those that the system gives to clients, or one of these would have it first."""

from __future__ import annotations

import contextlib
import random
import socket

_FIRST, _END = 10_000, 32_000


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
            return port
