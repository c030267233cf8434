"""What of a series may be missing, found in one pass over the times of its records, in bounded memory. Pure.

The usual spacing is the median of all spacings, from a histogram with steps of 3 %. A clock that jumped shows as a change
of wall time against monotonic time within one boot, and is taken out of the spacing: it is no silence. Where a clock was
set back, two stretches lie over each other, and a silence of one is not seen below the other. Late records change
nothing, because they are seen in the order of their time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Collection

import msgspec

from skerry.wire.completeness import Cause, Silence

FACTOR = 3.0
"""A silence is longer than so many usual spacings."""

REMEMBERED = 1000
"""The longest spacings that are remembered; among them are all silences of a series that has fewer."""

SHOWN = 20
_FEWEST = 10
"""Spacings from which a usual one is spoken of."""

_IRREGULAR = 8
"""Where one in ten spacings is so many times the median, nothing can be expected."""

_JUMP = 10**9
_STEPS = 5
PATIENCE = 600 * 10**9
"""As long a hole may be open while the node is heard, before what is in it counts as missing: lanes differ in speed."""


class Moment(msgspec.Struct, frozen=True):
    """A record's time, its session, and by which clock it was taken: wall minus monotonic time of this boot."""

    at: int
    session: int
    boot_id: str
    offset: int


class Dropped(msgspec.Struct, frozen=True):
    """The node has dropped samples between these times."""

    since: int
    until: int


class Found(msgspec.Struct, frozen=True):
    """What the times alone say about a series; see `wire.completeness.SeriesReport`."""

    count: int
    first: int
    last: int
    spacing: int | None
    silent: int
    silences: list[Silence]
    missing: int
    share: float | None
    sessions: int
    clock_jumps: int


class Tally:
    """Fed with a series' records in the order of their time."""

    def __init__(self) -> None:
        self._count = 0
        self._first = 0
        self._last: Moment | None = None
        self._spacings: Counter[int] = Counter()
        self._sums: Counter[int] = Counter()
        self._longest: list[tuple[int, int, int, bool]] = []
        self._sessions: set[int] = set()
        self._jumps = 0

    def add(self, moment: Moment) -> None:
        """The next record."""
        self._count += 1
        if len(self._sessions) < REMEMBERED:
            self._sessions.add(moment.session)
        before, self._last = self._last, moment
        if before is None:
            self._first = moment.at
            return
        length = moment.at - before.at
        passed = abs(length - clock_jump(before, moment))
        if passed < length:
            self._jumps += 1
            length = passed
        if length <= 0:
            return
        bucket = _bucket(length)
        self._spacings[bucket] += 1
        self._sums[bucket] += length
        entry = (length, before.at, moment.at, before.session != moment.session)
        if len(self._longest) < REMEMBERED:
            heapq.heappush(self._longest, entry)
        else:
            heapq.heappushpop(self._longest, entry)

    def found(self, dropped: Collection[Dropped], factor: float = FACTOR) -> Found | None:
        """None: there was no record."""
        if self._last is None:
            return None
        spacing = self._usual()
        silences = [] if spacing is None else self._silences(spacing, factor, dropped)
        missing, silent = sum(silence.missing for silence in silences), len(silences)
        if spacing is not None and silent == REMEMBERED:
            missing, silent = self._many(spacing, factor)
        return Found(
            count=self._count,
            first=self._first,
            last=self._last.at,
            spacing=spacing,
            silent=silent,
            silences=sorted(silences[:SHOWN], key=lambda silence: silence.since),
            missing=missing,
            share=None if spacing is None else self._count / (self._count + missing),
            sessions=len(self._sessions),
            clock_jumps=self._jumps,
        )

    def _usual(self) -> int | None:
        total = self._spacings.total()
        if total < _FEWEST:
            return None
        usual, wide = self._quantile(total * 0.5), self._quantile(total * 0.9)
        return None if wide > _IRREGULAR * usual else usual

    def _quantile(self, rank: float) -> int:
        """The mean of the step in which the spacing of this rank lies."""
        steps = sorted(self._spacings)
        places = itertools.accumulate(self._spacings[step] for step in steps)
        found = next(step for step, seen in zip(steps, places, strict=True) if seen >= rank)
        return self._sums[found] // self._spacings[found]

    def _many(self, spacing: int, factor: float) -> tuple[int, int]:
        """What is missing in how many silences, by the histogram: there are more than are remembered."""
        means = {step: self._sums[step] / count for step, count in self._spacings.items()}
        long = {step: mean for step, mean in means.items() if mean > factor * spacing}
        missing = sum(
            self._spacings[step] * (round(mean / spacing) - 1) for step, mean in long.items()
        )
        return missing, sum(self._spacings[step] for step in long)

    def _silences(self, spacing: int, factor: float, dropped: Collection[Dropped]) -> list[Silence]:
        """Longest first."""
        return [
            Silence(since, until, round(length / spacing) - 1, _cause(since, until, again, dropped))
            for length, since, until, again in sorted(self._longest, reverse=True)
            if length > factor * spacing
        ]


def clock_jump(before: Moment, after: Moment) -> int:
    """By how much the device's clock was set between two records, in ns; 0 where nothing tells."""
    if before.boot_id != after.boot_id:
        return 0
    jump = after.offset - before.offset
    return jump if abs(jump) >= _JUMP else 0


def is_missing(open_since: int, heard_at: int, now: int) -> bool:
    """Whether what is in a hole will hardly come: else it may be on its way.

    `open_since` is when the hub got the record after it, `heard_at` when it last heard of the node.
    """
    return now - open_since > PATIENCE and heard_at - open_since > PATIENCE


def quiet_for(last: int, spacing: int | None, now: int, factor: float = FACTOR) -> int | None:
    """For how long a series has been silent at its end, when that is longer than it should be."""
    if spacing is None or now - last <= factor * spacing:
        return None
    return now - last


def _cause(since: int, until: int, again: bool, dropped: Collection[Dropped]) -> Cause:  # noqa: FBT001
    if any(each.since < until and each.until > since for each in dropped):
        return "thinned"
    return "restart" if again else "silence"


def _bucket(length: int) -> int:
    """Steps of at most 3 %: 32 between each power of two and the next."""
    size = length.bit_length()
    if size <= _STEPS:
        return length
    return (size - _STEPS << _STEPS) + (length >> size - _STEPS - 1) - (1 << _STEPS)
