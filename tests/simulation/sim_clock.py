"""A device's clocks on the virtual loop. The wall clock can be set; monotonic time begins anew with each boot."""

from __future__ import annotations

import asyncio

from skerry.kit.clock import NS

BEGIN = 1_760_000_000 * NS
YEAR = 365 * 86_400.0


class SimClock:
    """Implements `kit.clock.Clock`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._boots = 1
        self._booted = 0.0
        self._ahead = 0
        self.most_behind = 0.0
        """Seconds, at any time."""

    def wall_ns(self) -> int:
        return BEGIN + self._ahead + int(asyncio.get_running_loop().time() * NS)

    def monotonic_ns(self) -> int:
        return int((asyncio.get_running_loop().time() - self._booted) * NS) + NS

    def boot_id(self) -> str:
        return f"{self._name}-boot-{self._boots}"

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jump_wall(self, seconds: float) -> None:
        """Sets the wall clock forward or back without any time passing."""
        self._ahead += int(seconds * NS)
        self.most_behind = max(self.most_behind, -self._ahead / NS)

    def set_right(self) -> None:
        """The wall clock tells the true time again."""
        self._ahead = 0

    @property
    def is_right(self) -> bool:
        """Whether it tells the true time."""
        return self._ahead == 0

    def reboot(self) -> None:
        """The device starts anew."""
        self._boots += 1
        self._booted = asyncio.get_running_loop().time()
