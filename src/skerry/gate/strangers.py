"""Who has connected and not said who it is yet: a bounded crowd, in which nobody keeps others from coming in.

An honest client says it at once, mostly before its connection is accepted. So whoever has waited longest makes room, of the
address that has most of them here, without any patience: with one, who connects often enough would keep all others waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

from skerry.gate.records import NamedTuple
from skerry.keeper.loop import Loop


class _Waiting(NamedTuple):
    address: str
    due: float
    late: Callable[[], object]


class Strangers:
    """At most so many at once, and each of them so many seconds at most."""

    def __init__(
        self, most: int, seconds: float, loop: Loop, monotonic: Callable[[], float]
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._loop = loop
        self._monotonic = monotonic
        self._waiting: dict[Hashable, _Waiting] = {}
        self._of: Counter[str] = Counter()
        self._looking = False

    def enter(self, who: Hashable, address: str, late: Callable[[], object]) -> None:
        """One more, from that address. `late` is called, and it is gone from here, when its time is over or others need the room."""
        if len(self._waiting) >= self._most:
            most = max(self._of, key=self._of.__getitem__)
            self._end(next(each for each, its in self._waiting.items() if its.address == most))
        self._waiting[who] = _Waiting(address, self._monotonic() + self._seconds, late)
        self._of[address] += 1
        if not self._looking:
            self._look_after(self._seconds)

    def leave(self, who: Hashable) -> None:
        """It is none any more, or is gone."""
        if (its := self._waiting.pop(who, None)) is not None:
            self._of[its.address] -= 1
            if not self._of[its.address]:
                del self._of[its.address]

    def _end(self, who: Hashable) -> None:
        late = self._waiting[who].late
        self.leave(who)
        late()

    def _look_after(self, seconds: float) -> None:
        """One timer for all: each would be kept in memory by its own, however short it was here."""
        self._looking = True
        self._loop.later(seconds, self._look)

    def _look(self) -> None:
        self._looking = False
        now = self._monotonic()
        for who in [who for who, its in self._waiting.items() if its.due <= now]:
            self._end(who)
        if self._waiting:
            self._look_after(next(iter(self._waiting.values())).due - now)
