"""Who may use a node's link next, and when: one bucket of bytes for all that is sent and received. Pure.

`node.sync.turns` asks whenever somebody comes, has gone or has waited long enough. The highest class goes first and
nobody overtakes it while it waits for its bytes, so it waits for its own bytes only. Classes below are not starved:
of every sixteen bytes that others move one is owed to each class that waits, and who has waited for half a minute
counts as one class higher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from skerry.kit.clock import NS
from skerry.wire.shared import Priority

BURST = 1.0
"""Seconds' worth of bytes that may go at once after a pause."""

STEP = 30 * NS
SHARE = 1 / 16
_MOST_OWED = 128 * 1024
"""Bytes; a class that was owed more would then go on its own for long."""

SMALLEST, USUAL, UNLIMITED = 4096, 64 * 1024, 1024 * 1024

_RANKS: Mapping[Priority, int] = {"high": 0, "medium": 1, "low": 2}
_LANES: Mapping[str, Priority] = {
    "event": "high",
    "state": "high",
    "keep": "medium",
    "sample": "low",
}
_KEPT_MONTHS = 3


class Waiter(msgspec.Struct, frozen=True):
    """Who wants to move `size` bytes. `number` rises with every waiter, `since` is in monotonic ns."""

    number: int
    priority: Priority
    size: int
    since: int


class Bucket(msgspec.Struct, frozen=True):
    """Bytes that may move: `rate` more a second, at most those of `BURST` seconds; None: as many as go.

    `level` was right at `at` (monotonic ns); below zero, more has moved than was known before. `owed` is what each
    class may move out of its turn.
    """

    rate: int | None
    level: float
    at: int
    owed: Mapping[Priority, float]

    @property
    def capacity(self) -> float:
        """The most that it holds; nothing where there is no rate."""
        return (self.rate or 0) * BURST

    def refilled(self, now: int) -> Bucket:
        """As it is at `now`."""
        more = max(now - self.at, 0) / NS * (self.rate or 0)
        level = min(self.level + more, self.capacity)
        return msgspec.structs.replace(self, level=level, at=now)

    def wait(self, size: int) -> float:
        """Seconds until `size` bytes may move. More than it ever holds go when it is full, and leave a debt."""
        if not self.rate:
            return 0.0
        return max(0.0, (min(size, self.capacity) - self.level) / self.rate)

    def taken(self, waiter: Waiter, others: Sequence[Waiter]) -> Bucket:
        """After `waiter` has got its bytes while `others` wait."""
        owed = dict(self.owed)
        for priority in {one.priority for one in others} - {waiter.priority, "high"}:
            owed[priority] = min(owed.get(priority, 0.0) + waiter.size * SHARE, _MOST_OWED)
        if waiter.priority in owed:
            owed[waiter.priority] = max(0.0, owed[waiter.priority] - waiter.size)
        return msgspec.structs.replace(self, level=self.level - waiter.size, owed=owed)

    def settled(self, expected: int, actual: int) -> Bucket:
        """After `actual` bytes have moved where `expected` were taken."""
        level = min(self.level + expected - actual, self.capacity)
        return msgspec.structs.replace(self, level=level)


class Go(msgspec.Struct, frozen=True):
    """This waiter goes now; then the bucket is this one."""

    number: int
    bucket: Bucket


class Later(msgspec.Struct, frozen=True):
    """This waiter is the next, in so many seconds."""

    number: int
    seconds: float


def full(rate: int | None, now: int) -> Bucket:
    """A bucket after a pause."""
    return Bucket(rate, (rate or 0) * BURST, now, {})


def decide(
    waiters: Sequence[Waiter], bucket: Bucket, now: int, *, only_high: bool
) -> Go | Later | None:
    """Who goes, and when. None: nobody who waits may go."""
    allowed = [one for one in waiters if one.priority == "high" or not only_high]
    if not allowed:
        return None
    bucket = bucket.refilled(now)
    chosen = _owed(allowed, bucket) or min(allowed, key=lambda one: _order(one, now))
    seconds = bucket.wait(chosen.size)
    if seconds > 0:
        return Later(chosen.number, seconds)
    others = [one for one in allowed if one is not chosen]
    return Go(chosen.number, bucket.taken(chosen, others))


def piece(rate: int | None) -> int:
    """The most bytes of one turn: what a rate carries in a quarter of a second, 64 KiB, or a sixteenth at fast rates."""
    if rate is None:
        return UNLIMITED
    return max(SMALLEST, min(USUAL, rate // 4), rate // 16)


def priority_of(lane: str) -> Priority:
    """The class of a lane: its own, or the one in its name («rows-high»)."""
    known = _LANES.get(lane)
    if known is not None:
        return known
    named = lane.rpartition("-")[2]
    return next((one for one in _RANKS if one == named), "medium")


def counted(months: Mapping[str, int], month: str, size: int) -> dict[str, int]:
    """The bytes of each month («2026-11») after `size` more in `month`.

    A few months are kept, so that a clock that is wrong for an hour does not make this month begin anew.
    """
    found = dict(months)
    found[month] = found.pop(month, 0) + size
    return dict(list(found.items())[-_KEPT_MONTHS:])


def _owed(waiters: Sequence[Waiter], bucket: Bucket) -> Waiter | None:
    """Who goes out of turn, because its class is owed it."""
    heads = (
        next((one for one in waiters if one.priority == priority), None) for priority in bucket.owed
    )
    return next(
        (one for one in heads if one and bucket.owed[one.priority] >= min(one.size, _MOST_OWED)),
        None,
    )


def _order(waiter: Waiter, now: int) -> tuple[int, int, int]:
    raised = max(now - waiter.since, 0) // STEP
    return max(_RANKS[waiter.priority] - raised, 0), waiter.since, waiter.number
