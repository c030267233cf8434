"""A queue whose users take turns: one who has much to send holds up nobody who has little."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class FairQueue(Generic[K, T]):
    """Items of each key in order, keys by turns. What is urgent goes before all of them."""

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._queues: dict[K, deque[T]] = {}

    def put_urgent(self, item: T) -> None:
        """Goes before everything but what is urgent, too."""
        self._urgent.append(item)

    def put(self, key: K, item: T) -> None:
        """Goes after what this key has put before, and when it is this key's turn."""
        self._queues.setdefault(key, deque()).append(item)

    def drop(self, key: K) -> None:
        """Forgets what waits for this key's turn."""
        self._queues.pop(key, None)

    def take(self) -> T | None:
        """The next item; None: there is none."""
        if self._urgent:
            return self._urgent.popleft()
        key = next(iter(self._queues), None)
        if key is None:
            return None
        queue = self._queues.pop(key)
        item = queue.popleft()
        if queue:
            self._queues[key] = queue  # behind all others
        return item
