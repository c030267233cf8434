"""A bandwidth cap: who moves bytes says how many, and waits as long as they take at the agreed rate."""

from __future__ import annotations

from skerry.kit.clock import NS, Clock


class Pace:
    """Keeps everything that spends from it together at `rate` bytes a second; None: as fast as it goes."""

    def __init__(self, rate: int | None, clock: Clock) -> None:
        self.rate = rate
        self._clock = clock
        self._free_at = 0.0

    async def spend(self, size: int) -> None:
        """Returns when so many more bytes may be moved."""
        if self.rate:
            now = self._clock.monotonic_ns() / NS
            self._free_at = max(self._free_at, now) + size / self.rate
            await self._clock.sleep(self._free_at - now)
