"""Flow control of one direction of a channel: how much the other side still takes, and what came from it."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from skerry.kit.bell import Bell

T = TypeVar("T")


class Credit:
    """Bytes that the other side is willing to take."""

    def __init__(self, window: int) -> None:
        self._left = window
        self._bell = Bell()

    def grant(self, size: int) -> None:
        """It has consumed so many, and takes them again."""
        self._left += size
        self._bell.ring()

    async def spend(self, size: int) -> None:
        """Waits until `size` bytes may be sent."""
        while self._left < size:
            await self._bell.after(self._bell.count)
        self._left -= size


class Inbox(Generic[T]):
    """What came on a channel, in order, with what it costs until somebody has taken it."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._items: deque[tuple[T, int]] = deque()
        self._bell = Bell()
        self.outstanding = 0
        self.ended = False

    def put(self, item: T, size: int) -> bool:
        """Takes an item of `size` bytes; False when the sender had no credit for it, or had said that it ends."""
        if self.ended or self.outstanding + size > self._window:
            return False
        self.outstanding += size
        self._items.append((item, size))
        self._bell.ring()
        return True

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        self.ended = True
        self._bell.ring()

    async def take(self) -> tuple[T, int] | None:
        """The next item and its size, whose credit is to be granted again; None at the end."""
        while not self._items and not self.ended:
            await self._bell.after(self._bell.count)
        if not self._items:
            return None
        item, size = self._items.popleft()
        self.outstanding -= size
        return item, size
