"""How much of a disk drivers and workers may hold once it runs short, and who has to go then. Pure: `disk_watch` does it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

DRIVERS_PART, WORKERS_PART = 10, 4
"""A driver's share, and the workers': the file system, divided by it."""

_LEAST, _MOST = 64 << 20, 4 << 30
_FASTEST = 200_000_000
"""Bytes a second that a program writes at most: so soon nobody has to look again."""

SOONEST, LATEST = 1.0, 30.0
"""Seconds between two looks."""


class Space(msgspec.Struct, frozen=True):
    """A file system, in bytes. `each` is what a file takes of it at least: so much there is for each that it can have."""

    size: int
    free: int
    each: int = 0

    @property
    def watermark(self) -> int:
        """What is to be free: a twentieth, between 64 MiB and 4 GiB, but of a small one a quarter."""
        return min(max(self.size // 20, _LEAST), _MOST, self.size // 4)

    @property
    def is_short(self) -> bool:
        return self.free < self.watermark

    @property
    def is_well(self) -> bool:
        """Not merely no longer short: what was told is over."""
        return self.free >= self.watermark * 5 // 4


class Use(msgspec.Struct, frozen=True):
    """What a program has written and is still there. `largest` is the place that has most of it; `bound` 0: it may hold what it likes."""

    workload: str
    bytes: int
    largest: str
    bound: int


def share(setting: int | None, part: int, size: int) -> int:
    """What a program may hold on a file system of this size; 0: what it likes."""
    return size // part if setting is None else setting


def chosen(uses: Iterable[Use]) -> Use | None:
    """Who is ended: of those that hold more than they may, the one with most."""
    over = [use for use in uses if 0 < use.bound < use.bytes]
    return max(over, key=_size, default=None)


def greatest(uses: Iterable[Use]) -> Use | None:
    """Who holds most, and anything at all."""
    return max((use for use in uses if use.bytes), key=_size, default=None)


def pause(spaces: Iterable[Space]) -> float:
    """Seconds within which nobody can have filled what is free above the watermark."""
    left = min((space.free - space.watermark for space in spaces), default=0)
    return min(max(left / _FASTEST, SOONEST), LATEST)


def _size(use: Use) -> tuple[int, str]:
    return use.bytes, use.workload
