"""«Something that the page shows has changed»: wakes the page's streams. Says nothing about what changed."""

from __future__ import annotations

import asyncio

from skerry.kit.bell import Bell


class Changes:
    """An in-process signal. `announce` may be called from any thread, the rest belongs to the event loop's."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._loop = asyncio.get_running_loop()
        self.closing = asyncio.Event()
        self.announced = 0
        """How often something has changed in this process."""

    def announce(self) -> None:
        """Something changed."""
        self._loop.call_soon_threadsafe(self._announce)

    def heard(self) -> None:
        """Something changed, as another hub process says."""
        self._bell.ring()

    @property
    def count(self) -> int:
        """How often something has changed so far."""
        return self._bell.count

    async def after(self, seen: int) -> int:
        """Returns the count as soon as it is above `seen`."""
        return await self._bell.after(seen)

    def _announce(self) -> None:
        self.announced += 1
        self._bell.ring()

    def close(self) -> None:
        """Wakes everybody for the last time: streams end when they see `closing`."""
        self.closing.set()
        self._bell.ring()
