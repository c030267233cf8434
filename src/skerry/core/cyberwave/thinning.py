"""How often messages of a name are kept: more are left out, and counted. Pure but for what it remembers.

A name may come unevenly, as over a network that stalls: what counts is the mean, with one second's worth at once,
at least two.
"""

from __future__ import annotations

import msgspec

from skerry.kit.clock import NS

QUIET = 1.0
"""Seconds after which what was left out of a name gets a record of its own, because no other came to tell of it."""

_MOST = 10_000

Key = tuple[str, int, str]
"""A run of the gate, a publisher (its token's number), a name."""


class Missed(msgspec.Struct, frozen=True):
    """Messages that were left out: how many, when the first and the last came (wall, ns), why, and when that was seen."""

    count: int
    since: int
    until: int
    why: str
    seen: int


class Thinning:
    """Of all names. Times to `admits` are monotonic, in ns, and those of one key do not go back."""

    def __init__(self) -> None:
        self._due: dict[Key, int] = {}
        self._missed: dict[Key, Missed] = {}

    def admits(self, key: Key, per_second: float, now: int) -> bool:
        """Whether one more is kept now."""
        if per_second <= 0:
            return True
        due = max(self._due.get(key, 0), now)
        between = round(NS / per_second)
        if due - now > max(NS - between, between):
            return False
        if len(self._due) >= _MOST and key not in self._due:
            self._due = {each: at for each, at in self._due.items() if at > now}
        self._due[key] = due + between
        return True

    def miss(self, key: Key, at: int, why: str, now: int, count: int = 1) -> None:
        """So many were left out, the last one captured `at` (wall, ns)."""
        held = self._missed.get(key)
        total, since = (count, at) if held is None else (held.count + count, held.since)
        self._missed[key] = Missed(total, since, at, why, now)

    def told(self, key: Key) -> int:
        """How many of the name were left out before the one that is kept now; from now on they are told of."""
        missed = self._missed.pop(key, None)
        return 0 if missed is None else missed.count

    def quiet(self, now: int, seconds: float = QUIET) -> list[tuple[Key, Missed]]:
        """Those that nobody has told of for so long; from now on they are told of."""
        found = [
            (key, missed)
            for key, missed in self._missed.items()
            if now - missed.seen >= seconds * NS
        ]
        for key, _ in found:
            del self._missed[key]
        return found

    @property
    def waiting(self) -> bool:
        """Whether any were left out that nobody has told of."""
        return bool(self._missed)
