"""Progress of long work, shown at most every so often: a line for each step would flood a log."""

from __future__ import annotations

from skerry.cli.output import Screen
from skerry.cli.progress import Progress
from skerry.kit.clock import NS, Clock

_ON_A_TERMINAL, _ELSEWHERE = 0.2, 5.0
"""Seconds between two words."""


class Pace:
    """Between the work and its Progress."""

    def __init__(self, screen: Screen, progress: Progress, clock: Clock) -> None:
        self._every = int((_ON_A_TERMINAL if screen.notes.is_terminal else _ELSEWHERE) * NS)
        self._progress = progress
        self._clock = clock
        self._last = clock.monotonic_ns()

    def step(self, text: str) -> None:
        """Shows what is being done now, if it is time."""
        now = self._clock.monotonic_ns()
        if now - self._last >= self._every:
            self._last = now
            self._progress.step(text)
