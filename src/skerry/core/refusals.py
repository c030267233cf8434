"""Refusals folded: the first of its kind is told at once, equal ones that follow are counted. Pure, and bounded.

So a flood of refused requests costs a few entries of the audit log a minute, however large it is.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from skerry.kit.clock import NS

FIRST_WINDOW = 60 * NS
LONGEST_WINDOW = 3600 * NS
"""Windows of one kind double while it goes on: a device that was deleted and asks for ever costs 24 entries a day."""

MOST = 32
"""Kinds at a time; more are counted as one, under the name `others`."""

_DAY = 86_400 * NS

K = TypeVar("K")


class _Window(msgspec.Struct):
    until: int
    length: int
    count: int = 0


class Refusals(Generic[K]):
    """Counts refusals by their kind. Times are nanoseconds of a clock that does not go back.

    Once `a_day` were told, the rest of that day is counted, and told when the day is over.
    """

    def __init__(self, others: K, most: int = MOST, a_day: int | None = None) -> None:
        self._others = others
        self._most = most
        self._a_day = a_day
        self._told = 0
        self._day_ends = 0
        self._windows: dict[K, _Window] = {}

    def note(self, kind: K, now: int) -> K | None:
        """The kind to tell of at once; None: it is counted, and `due` tells it later."""
        enough = self._enough(now)
        if kind not in self._windows and (enough or len(self._windows) >= self._most):
            kind = self._others
        window = self._windows.get(kind)
        if window is not None:
            window.count += 1
            return None
        if enough:
            self._windows[kind] = _Window(self._day_ends, LONGEST_WINDOW, count=1)
            return None
        self._windows[kind] = _Window(now + FIRST_WINDOW, FIRST_WINDOW)
        self._told += 1
        return kind

    def due(self, now: int, *, everything: bool = False) -> list[tuple[K, int, int]]:
        """Kind, count and window (ns) of what was counted in windows that are over; with `everything` in all."""
        told = []
        for kind, window in list(self._windows.items()):
            if now < window.until and not everything:
                continue
            if not window.count:
                del self._windows[kind]
                continue
            if self._enough(now) and not everything:
                window.until = self._day_ends
                continue
            self._told += 1
            told.append((kind, window.count, window.length))
            longer = min(2 * window.length, LONGEST_WINDOW)
            self._windows[kind] = _Window(now + longer, longer)
        return told

    def _enough(self, now: int) -> bool:
        if now >= self._day_ends:
            self._day_ends, self._told = now + _DAY, 0
        return self._a_day is not None and self._told >= self._a_day
