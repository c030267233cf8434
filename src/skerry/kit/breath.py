"""Long work in a thread beside others that must not wait: Python runs one thread at a time, and takes turns of 5 ms."""

from __future__ import annotations

import time
from collections.abc import Callable

from skerry.kit.clock import NS, Clock

_WORK = NS // 1000
_PAUSE = 0.002
"""Seconds; work of 1 ms and a pause of twice that leave two thirds of a core to others."""


class Breath:
    """Called after each small step of the work, it sleeps once a millisecond of it is done. Blocks: for threads only."""

    def __init__(self, clock: Clock, pause: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._since = clock.monotonic_ns()

    def __call__(self) -> None:
        if self._clock.monotonic_ns() - self._since >= _WORK:
            self._pause(_PAUSE)
            self._since = self._clock.monotonic_ns()
