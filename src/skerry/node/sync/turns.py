"""The gate before a node's link: whoever moves bytes over it takes turns here. Loaded where the settings ask for it.

`core.turns` decides; this waits, counts what travels, and says why only what is urgent may go. Without a limit there is no
gate (`uplink` then calls at once), so nothing here costs a node that has none.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from skerry.core.turns import Go, Later, Waiter, decide, full, piece, priority_of
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.node.sync.metering import Month
from skerry.wire.local import NetworkStatus
from skerry.wire.shared import Priority

TUNNELS = "tunnels"
"""What `of_lane` calls the bytes of channels."""

LOOK_EVERY = 30.0
"""Seconds until somebody who may not go looks whether that has changed: another month, another link."""


class Turn(msgspec.Struct):
    """One waiter's turn. `travelled` is what has moved in it so far."""

    travelled: int = 0

    def note(self, size: int) -> None:
        """So many bytes have moved."""
        self.travelled += size


class LinkTurns:
    """Implements `node.ports.Turns`. `held` says why only high priority goes, or nothing; `month` counts."""

    def __init__(
        self,
        rate: int | None,
        held: Callable[[], str],
        month: Month,
        clock: Clock,
        of_tunnels: Priority = "high",
    ) -> None:
        self._of_tunnels = of_tunnels
        self.piece = piece(rate)
        self._held = held
        self._month = month
        self._clock = clock
        self._bucket = full(rate, clock.monotonic_ns())
        self._waiters: list[Waiter] = []
        self._bell = Bell()
        self._number = 0

    def of_lane(self, lane: str) -> Priority:
        """The class of a lane's units, or of the bytes of tunnels."""
        return self._of_tunnels if lane == TUNNELS else priority_of(lane)

    @contextlib.asynccontextmanager
    async def turn(self, priority: Priority, size: int) -> AsyncIterator[Turn]:
        """Waits until about `size` bytes may move, then lets the caller move them and say how many they were."""
        await self._month.load()
        await self._enter(priority, size)
        turn = Turn()
        try:
            yield turn
        finally:
            self._settle(size, turn.travelled)
            await self._month.keep()

    def note(self, size: int) -> None:
        """So many bytes have moved that could not wait; who comes next pays for them."""
        self._settle(0, size)

    async def status(self) -> NetworkStatus:
        """For people."""
        await self._month.load()
        waiting = [one.priority for one in self._waiters]
        return NetworkStatus(
            max_bandwidth=self._bucket.rate,
            only_high=self.held,
            waiting={one: waiting.count(one) for one in dict.fromkeys(waiting)},
            month=self._month.name,
            used=self._month.used,
            cap=self._month.cap,
        )

    @property
    def held(self) -> str:
        """Why only high priority goes; empty: everything does."""
        return self._held() or self._month.exhausted

    async def save(self) -> None:
        """Keeps over a restart what was counted."""
        await self._month.keep(at_once=True)

    def _settle(self, expected: int, actual: int) -> None:
        self._bucket = self._bucket.refilled(self._clock.monotonic_ns()).settled(expected, actual)
        self._month.add(actual)
        if actual < expected:
            self._bell.ring()

    async def _enter(self, priority: Priority, size: int) -> None:
        self._number += 1
        waiter = Waiter(self._number, priority, size, self._clock.monotonic_ns())
        self._waiters.append(waiter)
        try:
            while not await self._goes(waiter.number):
                pass
        finally:
            self._waiters.remove(waiter)
            self._bell.ring()

    async def _goes(self, number: int) -> bool:
        """Whether it is this one's turn; if not, returns when that may have changed."""
        seen, now, held = self._bell.count, self._clock.monotonic_ns(), self.held
        verdict = decide(self._waiters, self._bucket, now, only_high=bool(held))
        match verdict:
            case Go() if verdict.number == number:
                self._bucket = verdict.bucket
                return True
            case Later() if verdict.number == number:
                await self._bell.within(seen, verdict.seconds, self._clock)
            case _ if held:
                await self._bell.within(seen, LOOK_EVERY, self._clock)
            case _:
                await self._bell.after(seen)
        return False
