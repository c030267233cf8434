"""Long work in a thread, at the side of others that must not wait for it: neither for Python nor for the disk.

Python runs one thread at a time and changes over after 5 ms, unless that thread lets go; a disk serves a large write
before the small one behind it. So who has a lot to do does it in small steps and rests between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from skerry.kit.clock import NS, Clock

_WORK = NS // 1000
_REST = 2
"""Times what the work took."""

_LONGEST = 0.05
"""Seconds."""


class Breath:
    """Called after each small step, it rests once a millisecond of work is done. Blocks: for threads only."""

    def __init__(self, clock: Clock, rest: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._rest = rest
        self._since = clock.monotonic_ns()

    def __call__(self) -> None:
        worked = self._clock.monotonic_ns() - self._since
        if worked >= _WORK:
            self._rest(min(_REST * worked / NS, _LONGEST))
            self._since = self._clock.monotonic_ns()
