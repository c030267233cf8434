"""A clock that moves only when told to."""

from __future__ import annotations

import asyncio
import heapq

from skerry.kit.clock import NS


class ManualClock:
    """Wall and monotonic time in the test's hand; sleepers wake when `advance` passes their time."""

    def __init__(self, wall_ns: int = 1_760_000_000 * NS, boot_id: str = "boot-1") -> None:
        self._wall = wall_ns
        self._monotonic = 1000 * NS
        self._boot_id = boot_id
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = 0

    def wall_ns(self) -> int:
        return self._wall

    def monotonic_ns(self) -> int:
        return self._monotonic

    def boot_id(self) -> str:
        return self._boot_id

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._monotonic + int(seconds * NS), self._order, future))
        await future

    def advance(self, seconds: float) -> None:
        """Moves both clocks and wakes the sleepers whose time has come."""
        self._wall += int(seconds * NS)
        self._monotonic += int(seconds * NS)
        while self._sleepers and self._sleepers[0][0] <= self._monotonic:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def jump_wall(self, seconds: float) -> None:
        """Sets the wall clock forward or back without any time passing."""
        self._wall += int(seconds * NS)

    @property
    def sleepers(self) -> int:
        """How many callers are asleep."""
        return len(self._sleepers)
