"""A clock that interrupts: calls `expire` when an armed span is over, and `hang` when that had no effect.

A module that computes is interrupted by `expire`; one that waits inside a call of the host cannot be, and ends
with its runner. `now` decides what is measured: the wall's time, or a thread's processor time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

HANG = 1.0
"""Seconds between the two."""

_SHORTEST = 0.002


class Deadline:
    """Arming again begins anew. `run` is the body of a thread; the others may be called from any."""

    def __init__(
        self,
        seconds: float,
        now: Callable[[], float],
        expire: Callable[[], None],
        hang: Callable[[], None],
    ) -> None:
        self._seconds = seconds
        self._now = now
        self._expire = expire
        self._hang = hang
        self._changed = threading.Condition()
        self._since: float | None = None
        self._expired = False
        self._asleep = False

    def arm(self) -> None:
        """The span begins now."""
        with self._changed:
            self._since = self._now()
            self._expired = False
            if self._asleep:
                self._changed.notify()

    def disarm(self) -> None:
        """No span runs."""
        with self._changed:
            self._since = None

    def run(self) -> None:
        """For ever."""
        with self._changed:
            while True:
                if self._since is None:
                    self._asleep = True
                    self._changed.wait()
                    self._asleep = False
                else:
                    self._changed.wait(max(self._look(self._since), _SHORTEST))

    def _look(self, since: float) -> float:
        """Seconds until something may be due."""
        left = since + self._seconds - self._now()
        if left > 0:
            return left
        if not self._expired:
            self._expired = True
            self._expire()
        elif left <= -HANG:
            self._hang()
        return HANG + left if left > -HANG else HANG
