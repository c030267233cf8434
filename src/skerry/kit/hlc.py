"""Hybrid logical clock: 48 bits of milliseconds and 16 bits of counter in one integer.

It follows the wall clock but never goes back and always passes what it has seen, so «later» means
«could have known of» even when device clocks lie. Ties are broken by the node id, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.kit.clock import Clock

MAX_AHEAD_MS = 60_000


class HybridClock:
    """One process's clock. `seen` must be the highest value it ever stored, or 0."""

    def __init__(self, clock: Clock, seen: int = 0) -> None:
        self._clock = clock
        self._last = seen

    def tick(self) -> int:
        """The time of a local change: greater than everything ticked or observed before."""
        self._last = time_after(self._clock.wall_ns(), self._last)
        return self._last

    def tick_after(self, known: int) -> int:
        """As `tick`, of a change made on something that is of `known`: later than that, too, however far ahead it is.

        The clock itself does not follow it there.
        """
        return max(self.tick(), known + 1)

    @property
    def last(self) -> int:
        """The latest that was ticked or observed: `seen` of the next process."""
        return self._last

    def observe(self, remote: int) -> None:
        """Takes note of a peer's time. One more than a minute ahead of our wall clock is clamped to that minute."""
        self._last = max(self._last, min(remote, self._now() + (MAX_AHEAD_MS << 16)))

    def _now(self) -> int:
        return _ticks(self._clock.wall_ns())


def time_after(wall_ns: int, seen: int) -> int:
    """The time of a change made at `wall_ns`, greater than `seen`."""
    return max(_ticks(wall_ns), seen + 1)


def _ticks(wall_ns: int) -> int:
    return (wall_ns // 1_000_000) << 16
