"""When nodes come again for which the hub has no time: one after the other, as fast as this hub serves them. Pure.

How fast that is, the storm itself tells: by the processor that the hub spends from one answered hello to the next.
Times are in seconds; of the monotonic clock, and of this process's processor.
"""

from __future__ import annotations

from dataclasses import dataclass

EACH = 0.02
"""Seconds that a hub is kept busy by a node that comes back, until it has measured its own."""

LEAST, MOST = 0.002, 0.2
"""Between these a measurement is believed: others are of something else than nodes that come back."""

LATEST = 30
"""Seconds: nobody is told to come later than that."""

HELLOS = 2
"""Of a node that comes back: the first, and one when its live link stands. What it pushes and pulls comes with them."""

ENOUGH = 50
"""Answered hellos that make a measurement."""

OVER = 3.0
"""Seconds without anybody who is turned away: the storm is over, and what the hub does now is something else."""


@dataclass(frozen=True)
class Moment:
    """A point in time on both clocks."""

    now: float
    spent: float


class Appointments:
    """`each` is what a node that comes back costs, in seconds."""

    def __init__(self) -> None:
        self.each = EACH
        self._booked = 0.0
        self._turned_away = float("-inf")
        self._since: Moment | None = None
        self._answered = 0

    def next(self, at: Moment) -> int:
        """Whole seconds from `at` for one more who is turned away, at least one."""
        now = at.now
        if self._since is None or now - self._turned_away > OVER:
            self._since, self._answered = at, 0
        self._turned_away = now
        self._booked = min(max(self._booked, now) + self.each, now + LATEST - 1)
        return 1 + int(self._booked - now)

    def answered(self, at: Moment) -> None:
        """A hello was answered. While others are turned away it counts for what each node costs."""
        if self._since is None:
            return
        if at.now - self._turned_away > OVER:
            self._since = None
            return
        self._answered += 1
        if self._answered >= ENOUGH:
            found = HELLOS * (at.spent - self._since.spent) / self._answered
            self.each = (self.each + min(max(found, LEAST), MOST)) / 2
            self._since, self._answered = at, 0
