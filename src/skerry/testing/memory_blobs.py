"""The hub's blobs in memory. Passes the same contract suite as `hub.store.blobs` (tests/contract/test_blobs.py)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection

from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, NotFound
from skerry.wire.models import BlobState


class MemoryBlobs:
    """Implements `hub.ports.Blobs`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._complete: dict[str, bytes] = {}
        self._parts: dict[str, bytes] = {}
        self._written: dict[str, int] = {}

    async def state(self, sha256: str) -> BlobState:
        if sha256 in self._complete:
            return BlobState(sha256, len(self._complete[sha256]), complete=True)
        return BlobState(sha256, len(self._parts.get(sha256, b"")), complete=False)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        state = await self.state(sha256)
        if state.complete or state.received != offset or offset + len(data) > size:
            return state
        whole = self._parts.pop(sha256, b"") + data
        self._written[sha256] = self._clock.wall_ns()
        if len(whole) < size:
            self._parts[sha256] = whole
        elif hashlib.sha256(whole).hexdigest() != sha256:
            raise InvalidInput(f"cannot keep blob {sha256[:12]}…: it is something else")
        else:
            self._complete[sha256] = whole
        return await self.state(sha256)

    async def size(self, sha256: str) -> int | None:
        whole = self._complete.get(sha256)
        return None if whole is None else len(whole)

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        if sha256 not in self._complete:
            raise NotFound(f"cannot read blob {sha256[:12]}…: it is not here")
        yield self._complete[sha256][start:end]

    def cut(self, sha256: str, size: int) -> None:
        """The disk has lost what comes after the first `size` bytes."""
        self._complete[sha256] = self._complete[sha256][:size]

    async def remove(self, sha256: str) -> None:
        for kept in (self._complete, self._parts, self._written):
            kept.pop(sha256, None)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        gone = [sha for sha, at in self._written.items() if sha not in keep and at < older_than]
        for sha256 in gone:
            del self._written[sha256]
            self._complete.pop(sha256, None)
            self._parts.pop(sha256, None)
        return len(gone)
