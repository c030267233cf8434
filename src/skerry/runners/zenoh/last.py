"""What each channel said last, so that `latest()` has an answer when its publisher is gone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

LIMIT = 64 * 1024 * 1024
KEYS = 1024

Heard = Callable[[str, bytes], None]
"""Told of each sample: its key expression and its bytes."""


class LastBytes:
    """The last sample of each key, in at most `limit` bytes: those that were silent longest go first. From any thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, key: str, sample: bytes) -> None:
        """The newest one. What is larger than the limit is not kept, nor what it comes after."""
        with self._lock:
            self._size -= len(self._held.pop(key, b""))
            if len(sample) > self._limit:
                return
            self._held[key] = sample
            self._size += len(sample)
            while self._size > self._limit or len(self._held) > KEYS:
                _, oldest = self._held.popitem(last=False)
                self._size -= len(oldest)

    def get(self, key: str) -> bytes | None:
        """The last sample of this key."""
        return self._held.get(key)

    def all(self) -> list[tuple[str, bytes]]:
        """Those of all keys."""
        with self._lock:
            return list(self._held.items())
