"""Blobs in a bucket of an S3-compatible server, sealed: what the server keeps says nothing to it.

Implements `hub.ports.Blobs`. A blob's object has the bytes that its file has in a directory (`sealed_blobs`): a stream
of sealed segments that opens under its own name only, whole and in order. A piece of an upload is one sealed body,
bound to its offset. Blobs from before encryption was switched on are read as they are until `seal_plain` has been
through; from then on what is not sealed counts as not there, whoever put it into the bucket.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from typing import NamedTuple

from skerry.hub.store.blob_keys import BlobKeys
from skerry.hub.store.s3_blobs import S3Blobs
from skerry.hub.store.s3_objects import Name, S3Objects, Stored
from skerry.hub.store.sealed_blobs import piece_place
from skerry.kit.errors import Corrupt, InvalidInput, NotFound
from skerry.kit.named_locks import NamedLocks
from skerry.kit.sealing.blobs import NAMED, content_place
from skerry.kit.sealing.format import OVERHEAD
from skerry.kit.sealing.sealed import SealingCipher
from skerry.kit.sealing.stream import (
    HEAD,
    SEGMENT,
    WHOLE,
    StreamSealer,
    open_segment,
    segment_place,
    segments_of,
)
from skerry.wire.models import BlobState

log = logging.getLogger(__name__)

_AT_ONCE = 16
"""Segments that are read together: a megabyte."""


class _Sealed(NamedTuple):
    """A sealed object that is there, and what opens it; `head` are the first bytes of its stream."""

    object: Stored
    cipher: SealingCipher
    head: bytes

    @property
    def segments(self) -> int:
        return segments_of(self.object.size)

    @property
    def size(self) -> int:
        """Of its content."""
        return max(self.object.size - HEAD - OVERHEAD * self.segments, 0)


class SealedS3Blobs:
    """All blobs of one kind."""

    def __init__(self, objects: S3Objects, keys: BlobKeys) -> None:
        self._objects = objects
        self._keys = keys
        self._plain = S3Blobs(objects)
        self._writing = NamedLocks()

    async def state(self, sha256: str) -> BlobState:
        size = await self.size(sha256)
        if size is not None:
            return BlobState(sha256, size, complete=True)
        pieces = await self._pieces(sha256)
        received = sum(piece.size - OVERHEAD for piece in pieces)
        return BlobState(sha256, received, complete=False)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        async with self._writing[sha256]:
            state = await self.state(sha256)
            if state.complete or state.received != offset or offset + len(data) > size:
                return state
            cipher = await self._keys.make(sha256)
            if data:
                place = piece_place(sha256, offset)
                sealed = await asyncio.to_thread(cipher.seal, data, place)
                await self._objects.put(Name(sha256, sealed=True, offset=offset), sealed)
            received = offset + len(data)
            if received < size:
                return BlobState(sha256, received, complete=False)
            await self._complete(cipher, sha256)
            return BlobState(sha256, received, complete=True)

    async def size(self, sha256: str) -> int | None:
        found = await self._find(sha256)
        if found is not None:
            return found.size
        return await self._plain.size(sha256) if self._keys.takes_plain else None

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        found = await self._find(sha256)
        while True:
            try:
                async for piece in self._content(sha256, found, start, end):
                    start += len(piece)
                    yield piece
            except (Corrupt, NotFound):
                # It may have been sealed meanwhile, or written anew by another hub that got it, too.
                now = await self._find(sha256)
                if now is None or (found is not None and now.object.tag == found.object.tag):
                    raise
                found = now
            else:
                return

    async def remove(self, sha256: str) -> None:
        async with self._writing[sha256]:
            await self._objects.delete([Name(sha256, sealed=True)])
            await self._objects.delete_pieces(sha256, sealed=True)
            await self._plain.remove(sha256)
            await self._keys.forget(sha256)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        changed: dict[str, int] = {}
        async for each in self._objects.every():
            sha256 = each.name.sha256
            if sha256 not in keep:
                changed[sha256] = max(each.changed, changed.get(sha256, 0))
        old = [sha256 for sha256, last in changed.items() if last < older_than]
        for sha256 in old:
            await self.remove(sha256)
        return len(old)

    async def seal_plain(self) -> AsyncGenerator[str, None]:
        async for each in self._objects.every():
            name = each.name
            if name.sealed:
                continue
            if name.offset is not None:
                await self._objects.delete([name])
                continue
            async with self._writing[name.sha256]:
                sealed = await self._seal(each)
            if sealed:
                yield name.sha256

    async def _find(self, sha256: str) -> _Sealed | None:
        """None also when nobody has its key: a database that was put back lacks those of what came since."""
        name = Name(sha256, sealed=True)
        found = await self._objects.find(name)
        cipher = None if found is None else await self._keys.find(sha256)
        if found is None or cipher is None:
            return None
        if segments_of(found.size) == 0:
            return _Sealed(found, cipher, b"")
        try:
            start = await self._objects.get_range(name, 0, HEAD + NAMED)
        except NotFound:
            return None
        if not cipher.is_current(start[HEAD:]):
            return None
        return _Sealed(found, cipher, start[:HEAD])

    def _content(
        self, sha256: str, found: _Sealed | None, start: int, end: int
    ) -> AsyncIterator[bytes]:
        if found is not None:
            return self._opened(found, start, end)
        if self._keys.takes_plain:
            return self._plain.read(sha256, start, end)
        raise NotFound(f"cannot read blob {sha256[:12]}…: the hub does not have it")

    async def _opened(self, found: _Sealed, start: int, end: int) -> AsyncIterator[bytes]:
        last = found.segments - 1
        if last < 0 or end > found.size:
            sha256 = found.object.name.sha256
            raise Corrupt(f"cannot read blob {sha256[:12]}…: it is shorter than it was")
        numbers = range(start // SEGMENT, min(-(-end // SEGMENT), last + 1))
        if last not in numbers[:_AT_ONCE]:
            await self._segments(found, range(last, last + 1))  # what was cut has no last one
        for first in numbers[::_AT_ONCE]:
            some = range(first, min(first + _AT_ONCE, numbers.stop))
            data = await self._segments(found, some)
            begin = first * SEGMENT
            yield data[max(start - begin, 0) : end - begin]

    async def _segments(self, found: _Sealed, numbers: range) -> bytes:
        """The content of these segments. Raises Corrupt."""
        until = HEAD + numbers.stop * WHOLE
        if numbers.stop == found.segments:
            until = found.object.size
        begin = HEAD + numbers.start * WHOLE
        sealed = await self._objects.get_range(found.object.name, begin, until)
        return await asyncio.to_thread(_open, found, numbers, sealed)

    async def _complete(self, cipher: SealingCipher, sha256: str) -> None:
        """Makes one object of the pieces. Raises InvalidInput when it would be something else."""
        pieces = [each.name for each in await self._pieces(sha256)]
        whole = _sealed(cipher, sha256, self._opened_pieces(cipher, pieces))
        try:
            await self._objects.put(Name(sha256, sealed=True), whole)
        except InvalidInput:
            await self._objects.delete(pieces)
            raise
        await self._objects.delete(pieces)

    async def _pieces(self, sha256: str) -> list[Stored]:
        return await self._objects.pieces(sha256, sealed=True, overhead=OVERHEAD)

    async def _opened_pieces(
        self, cipher: SealingCipher, pieces: Sequence[Name]
    ) -> AsyncIterator[bytes]:
        """Raises InvalidInput when one does not open: then all of it must come again."""
        for name in pieces:
            sealed = await self._objects.get(name)
            try:
                place = piece_place(name.sha256, name.offset or 0)
                yield await asyncio.to_thread(cipher.open, sealed, place)
            except Corrupt as error:
                raise InvalidInput(
                    f"cannot keep blob {name.sha256[:12]}…: a part of it was damaged in the bucket. Send it again."
                ) from error

    async def _seal(self, plain: Stored) -> bool:
        """Puts a sealed object in the place of a plain one; whether it did."""
        sha256 = plain.name.sha256
        if await self._find(sha256) is None:
            cipher = await self._keys.make(sha256)
            content = self._plain.read(sha256, 0, plain.size)
            try:
                await self._objects.put(Name(sha256, sealed=True), _sealed(cipher, sha256, content))
            except NotFound:
                return False  # another hub has sealed it
            except InvalidInput:
                log.warning(
                    "blob %s in the bucket is not what its name says: it stays there unsealed, and nobody gets it",
                    sha256,
                )
                return False
        await self._objects.delete([plain.name])
        return True


async def _sealed(
    cipher: SealingCipher, sha256: str, content: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The sealed form of a blob, whose end comes only when its hash is right. Raises InvalidInput."""
    sealer = StreamSealer(cipher, content_place(sha256))
    digest = hashlib.sha256()

    def seal(piece: bytes) -> bytes:
        digest.update(piece)
        return sealer.add(piece)

    async for piece in content:
        yield await asyncio.to_thread(seal, piece)
    if (found := digest.hexdigest()) != sha256:
        raise InvalidInput(
            f"cannot keep blob {sha256[:12]}…: what came is {found[:12]}…. Send it again."
        )
    yield sealer.end()


def _open(found: _Sealed, numbers: range, sealed: bytes) -> bytes:
    place, last = content_place(found.object.name.sha256), found.segments - 1

    def segment(number: int) -> bytes:
        begin = (number - numbers.start) * WHOLE
        its = sealed[begin:] if number == last else sealed[begin : begin + WHOLE]
        bound = segment_place(place, found.head, number, last=number == last)
        return open_segment(its, found.cipher, bound)

    return b"".join(map(segment, numbers))
