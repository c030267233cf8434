"""Waking up: a bell that many may wait for, where no ring is ever missed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skerry.kit.clock import Clock


class Bell:
    """Counts its rings. A waiter names the last count it has seen, so a ring between two waits is not lost."""

    def __init__(self) -> None:
        self.count = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wakes everybody who waits. Call it in the event loop's thread."""
        self.count += 1
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def after(self, seen: int) -> int:
        """Returns the count as soon as it is above `seen`."""
        if self.count <= seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.count

    async def within(self, seen: int, seconds: float, clock: Clock) -> int:
        """As `after`, but returns the count unchanged when nobody rings for `seconds`."""
        ring = asyncio.ensure_future(self.after(seen))
        timer = asyncio.ensure_future(clock.sleep(seconds))
        try:
            await asyncio.wait({ring, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ring.cancel()
            timer.cancel()
        return self.count


class Rings:
    """Several bells as one. `note` comes before a look at what they stand for, so no ring during the look is missed."""

    def __init__(self, bells: Sequence[Bell]) -> None:
        self._bells = bells
        self._seen = [bell.count for bell in bells]

    def note(self) -> None:
        """What has rung so far is known."""
        self._seen = [bell.count for bell in self._bells]

    async def next(self, clock: Clock, seconds: float | None = None) -> None:
        """Returns as soon as one has rung since `note`, or nobody has for `seconds`; None: however long that takes."""
        waits = [
            asyncio.ensure_future(bell.after(count))
            for bell, count in zip(self._bells, self._seen, strict=True)
        ]
        timer = [] if seconds is None else [asyncio.ensure_future(clock.sleep(seconds))]
        try:
            await asyncio.wait([*waits, *timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*waits, *timer):
                each.cancel()
