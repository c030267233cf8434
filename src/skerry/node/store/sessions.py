"""Which records of which publisher a lane holds already, so that a retry is no second record. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

MAX_SESSIONS = 512
"""A publisher is forgotten when this many others have published since."""


class Sessions:
    """The last counter of each of the most recent publisher sessions of one lane."""

    def __init__(self, entries: Iterable[tuple[str, int]] = ()) -> None:
        self._last: OrderedDict[str, int] = OrderedDict(entries)

    def last(self, session: str) -> int:
        """The highest counter that the lane holds of `session`; 0 when it knows none."""
        return self._last.get(session, 0)

    def note(self, session: str, counter: int) -> None:
        """The lane holds `session` up to `counter`."""
        self._last[session] = max(counter, self.last(session))
        self._last.move_to_end(session)
        if len(self._last) > MAX_SESSIONS:
            self._last.popitem(last=False)

    def entries(self) -> list[tuple[str, int]]:
        """Sessions with their counters, the longest silent first."""
        return list(self._last.items())
