"""The way to a local socket that may be away for a moment: connections are held and let through a few at a time."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from skerry.keeper.loop import Loop

_PAUSE = 0.05
"""Between two looks for a listener that is away."""

Arrived = Callable[[socket.socket | None], object]
"""Raises OSError for a socket that it cannot take: then it is called with None."""


class Door:
    """The way to the UNIX socket at `path`; `width` are let in at once. Who enters says when it is through."""

    def __init__(self, path: str, loop: Loop, monotonic: Callable[[], float], width: int) -> None:
        self._path = path
        self._loop = loop
        self._monotonic = monotonic
        self._width = width
        self._waiting: deque[tuple[float, Arrived]] = deque()
        self._inside = 0
        self._looking = self._calling = False

    def enter(self, patience: float, arrived: Arrived) -> None:
        """Calls `arrived` with a connected socket, for which `through` must be called; after `patience` with None."""
        self._waiting.append((self._monotonic() + patience, arrived))
        if not self._looking:
            self._serve()

    def through(self) -> None:
        """One who entered needs no more room at the door."""
        self._inside -= 1
        if self._waiting and not self._calling:
            self._calling = True
            self._loop.later(0.0, self._call)

    def _call(self) -> None:
        self._calling = False
        self._serve()

    def _look(self) -> None:
        self._looking = False
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._inside < self._width:
            sock = _connected(self._path)
            if sock is None:
                break
            self._inside += 1
            _, arrived = self._waiting.popleft()
            try:
                arrived(sock)
            except OSError:
                sock.close()
                self._inside -= 1
                arrived(None)
        self._give_up()
        if self._waiting and not self._looking:
            self._looking = True
            self._loop.later(_PAUSE, self._look)

    def _give_up(self) -> None:
        now = self._monotonic()
        late = [arrived for due, arrived in self._waiting if due <= now]
        self._waiting = deque(item for item in self._waiting if item[0] > now)
        for arrived in late:
            arrived(None)


def _connected(path: str) -> socket.socket | None:
    """None while nobody listens, or too many stand in line there."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return None  # descriptors are short
    try:
        sock.settimeout(0)
        sock.connect(path)
    except OSError:
        sock.close()
        return None
    return sock
