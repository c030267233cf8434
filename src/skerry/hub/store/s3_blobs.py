"""Blobs in a bucket of an S3-compatible server, as they are.

Implements `hub.ports.Blobs`. The pieces of an upload are objects of their own; when the last one has come, they become
one object by a multipart upload that ends only when its hash is right. Nothing but the bucket has state, so any
number of hubs may use one. `sealed_s3_blobs` does the same where encryption at rest is on.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence

from skerry.hub.store.s3_objects import Name, S3Objects
from skerry.kit.errors import InvalidInput, NotFound, Transient
from skerry.kit.named_locks import NamedLocks
from skerry.wire.models import BlobState

_READ = 1024 * 1024


class S3Blobs:
    """All blobs of one kind."""

    def __init__(self, objects: S3Objects) -> None:
        self._objects = objects
        self._writing = NamedLocks()

    async def state(self, sha256: str) -> BlobState:
        size = await self.size(sha256)
        if size is not None:
            return BlobState(sha256, size, complete=True)
        pieces = await self._objects.pieces(sha256, sealed=False)
        return BlobState(sha256, sum(piece.size for piece in pieces), complete=False)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        async with self._writing[sha256]:
            state = await self.state(sha256)
            if state.complete or state.received != offset or offset + len(data) > size:
                return state
            received = offset + len(data)
            if data:
                await self._objects.put(Name(sha256, offset=offset), data)
            if received < size:
                return BlobState(sha256, received, complete=False)
            await self._complete(sha256)
            return BlobState(sha256, received, complete=True)

    async def size(self, sha256: str) -> int | None:
        found = await self._objects.find(Name(sha256))
        return None if found is None else found.size

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        if await self.size(sha256) is None:
            raise NotFound(f"cannot read blob {sha256[:12]}…: the hub does not have it")
        while start < end:
            piece = await self._objects.get_range(Name(sha256), start, min(start + _READ, end))
            if not piece:
                raise Transient(f"cannot read blob {sha256[:12]}…: it is shorter than it was")
            start += len(piece)
            yield piece

    async def remove(self, sha256: str) -> None:
        async with self._writing[sha256]:
            await self._objects.delete([Name(sha256)])
            await self._objects.delete_pieces(sha256, sealed=False)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        removed = 0
        async for each in self._objects.every():
            if each.name.sha256 not in keep and each.changed < older_than:
                await self._objects.delete([each.name])
                removed += 1
        return removed

    async def _complete(self, sha256: str) -> None:
        """Makes one object of the pieces. Raises InvalidInput when it would be something else."""
        pieces = [each.name for each in await self._objects.pieces(sha256, sealed=False)]
        try:
            await self._objects.put(Name(sha256), self._whole(pieces, sha256))
        except InvalidInput:
            await self._objects.delete(pieces)
            raise
        await self._objects.delete(pieces)

    async def _whole(self, pieces: Sequence[Name], sha256: str) -> AsyncIterator[bytes]:
        """The pieces in order. An error in here ends the upload, and nothing appears."""
        digest = hashlib.sha256()
        held = b""
        for name in pieces:
            if held:
                yield held
            held = await self._objects.get(name)
            digest.update(held)
        if (found := digest.hexdigest()) != sha256:
            raise InvalidInput(
                f"cannot keep blob {sha256[:12]}…: what came is {found[:12]}…. Send it again."
            )
        yield held
