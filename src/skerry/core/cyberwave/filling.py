"""Who fills a store with what the hub does not have yet: a publisher's share goes by what all of them leave free. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import msgspec

from skerry.wire.sync import Lane

_TOGETHER = 1 << 20
"""Bytes that go as one: the store lets whole files go, too."""


class _Part(msgspec.Struct):
    lane: Lane
    through: int
    size: int


class Filling:
    """Of one store, since this agent began. `times`: a share is so many times what is left free.

    Who is full stays so until half of the share would do, or it would be full and not full at each record.
    """

    def __init__(self, times: int) -> None:
        self.full: frozenset[str] = frozenset()
        self._times = times
        self._parts: dict[str, deque[_Part]] = {}
        self._held: Counter[str] = Counter()

    def add(self, source: str, lane: Lane, through: int, size: int) -> None:
        """So many bytes more are a publisher's, the last record of them being `through` of the lane."""
        parts = self._parts.setdefault(source, deque())
        self._held[source] += size
        last = parts[-1] if parts else None
        if last is not None and last.lane == lane and last.size < _TOGETHER:
            last.through, last.size = through, last.size + size
        else:
            parts.append(_Part(lane, through, size))

    def judge(self, left: int, acknowledged: Callable[[Lane], int]) -> frozenset[str]:
        """Who has newly more than its share of a store with so many bytes left; `full` are all of them."""
        for source, parts in list(self._parts.items()):
            while parts and parts[0].through <= acknowledged(parts[0].lane):
                self._held[source] -= parts.popleft().size
            if not parts:
                del self._parts[source], self._held[source]
        share = self._times * max(left, 0)
        before, self.full = (
            self.full,
            frozenset(
                source
                for source, held in self._held.items()
                if held > (share // 2 if source in self.full else share)
            ),
        )
        return self.full - before
