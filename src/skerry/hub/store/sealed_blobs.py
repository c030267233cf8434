"""Blobs in a directory, sealed: `ab/cdef….sealed`, and what has come of an upload as `….sealed.part` beside it.

Implements `hub.ports.Blobs`. A complete blob is a stream of sealed segments (`kit.sealing.blobs`), which opens whole and
in order under its own name only. A part is a row of sealed pieces, each with its length before it and bound to its
offset; one that was cut in writing counts as not there. Blobs from before encryption was switched on are read as they
are until `seal_plain` has been through.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from skerry.hub.store.blob_keys import BlobKeys
from skerry.hub.store.blobs import BlobDirectory
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, InvalidInput, NotFound, StorageFull, Transient
from skerry.kit.named_locks import NamedLocks
from skerry.kit.sealing.blobs import SealedBytes
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.format import OVERHEAD
from skerry.kit.sealing.sealed import SealingCipher
from skerry.kit.sealing.stream import HEAD, segments_of
from skerry.wire.models import BlobState

_SEALED, _PART, _NEW = ".sealed", ".part", ".new"
_LENGTH = struct.Struct(">I")
_PIECE = 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Part(NamedTuple):
    """What there is of an upload: plain bytes, and how many of its file's bytes are whole pieces."""

    received: int
    whole: int


class SealedBlobDirectory:
    """All blobs of one place. Disk work is done in threads."""

    def __init__(self, directory: Path, keys: BlobKeys, disk: Disk) -> None:
        self._directory = directory
        self._keys = keys
        self._disk = disk
        self._plain = BlobDirectory(directory, disk)
        self._writing = NamedLocks()

    async def state(self, sha256: str) -> BlobState:
        size = await self.size(sha256)
        if size is not None:
            return BlobState(sha256, size, complete=True)
        part = await asyncio.to_thread(_measure, self._path(sha256, _PART))
        return BlobState(sha256, part.received, complete=False)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        async with self._writing[sha256]:
            state = await self.state(sha256)
            if state.complete or state.received != offset or offset + len(data) > size:
                return state
            cipher = await self._keys.make(sha256)
            try:
                return await asyncio.to_thread(self._add, cipher, sha256, offset, size, data)
            except OSError as error:
                sentence = f"cannot keep blob {sha256[:12]}…: {error.strerror}"
                if error.errno in _FULL:
                    raise StorageFull(f"{sentence}. Make room at the hub.") from error
                raise Transient(sentence) from error

    async def size(self, sha256: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            stored = self._path(sha256).stat().st_size
            # A database that was put back from a backup lacks the keys of what came since: that comes again.
            if await self._keys.find(sha256) is not None:
                return max(stored - HEAD - OVERHEAD * segments_of(stored), 0)
        return await self._plain.size(sha256)

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        path = self._path(sha256)
        if not path.exists():
            async for chunk in self._plain.read(sha256, start, end):
                yield chunk
            return
        cipher = await self._keys.find(sha256)
        if cipher is None:
            raise NotFound(f"cannot read blob {sha256[:12]}…: the hub has no key for it")
        content = _bytes(self._disk, cipher, sha256)
        while start < end:
            try:
                chunk = await asyncio.to_thread(content.read, path, start, min(_PIECE, end - start))
            except FileNotFoundError as error:
                raise NotFound(f"cannot read blob {sha256[:12]}…: it was removed") from error
            start += len(chunk)
            yield chunk

    async def remove(self, sha256: str) -> None:
        async with self._writing[sha256]:
            for suffix in ("", _PART, _NEW):
                await asyncio.to_thread(
                    self._disk.unlink, "blob.remove", self._path(sha256, suffix)
                )
            await self._plain.remove(sha256)
            await self._keys.forget(sha256)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        old = await asyncio.to_thread(self._old, keep, older_than)
        for sha256 in old:
            await self.remove(sha256)
        return len(old)

    async def seal_plain(self) -> AsyncGenerator[str, None]:
        for path in await asyncio.to_thread(lambda: list(self._directory.glob("??/*"))):
            sha256 = _name(path)
            is_blob = path.name == sha256[2:]
            async with self._writing[sha256]:
                if is_blob:
                    cipher = await self._keys.make(sha256)
                    await asyncio.to_thread(self._seal, cipher, sha256, path)
                elif _SEALED not in path.name:
                    await asyncio.to_thread(self._disk.unlink, "blob.forget", path)
            if is_blob:
                yield sha256

    def _path(self, sha256: str, suffix: str = "") -> Path:
        return self._directory / sha256[:2] / f"{sha256[2:]}{_SEALED}{suffix}"

    def _add(
        self, cipher: SealingCipher, sha256: str, offset: int, size: int, data: bytes
    ) -> BlobState:
        part = self._path(sha256, _PART)
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = _measure(part).whole
        fd = self._disk.open_append("blob.open", part)
        try:
            if part.stat().st_size > whole:
                self._disk.truncate("blob.cut", part, whole)
            for start in range(0, len(data), _PIECE):
                sealed = cipher.seal(
                    data[start : start + _PIECE], piece_place(sha256, offset + start)
                )
                self._disk.append("blob.append", fd, _LENGTH.pack(len(sealed)) + sealed)
            self._disk.sync("blob.sync", fd)
        finally:
            os.close(fd)
        received = offset + len(data)
        if received < size:
            return BlobState(sha256, received, complete=False)
        try:
            found = self._write(cipher, sha256, _pieces(part, sha256, cipher))
        except Corrupt:
            found = "something damaged"
        if found != sha256:
            for suffix in (_NEW, _PART):
                self._disk.unlink("blob.refuse", self._path(sha256, suffix))
            raise InvalidInput(
                f"cannot keep blob {sha256[:12]}…: what came is {found[:17]}…. Send it again."
            )
        self._disk.rename("blob.keep", self._path(sha256, _NEW), self._path(sha256))
        self._disk.unlink("blob.kept", part)
        return BlobState(sha256, received, complete=True)

    def _seal(self, cipher: SealingCipher, sha256: str, path: Path) -> None:
        with path.open("rb") as file:
            self._write(cipher, sha256, iter(lambda: file.read(_PIECE), b""))
        self._disk.rename("blob.keep", self._path(sha256, _NEW), self._path(sha256))
        self._disk.unlink("blob.sealed", path)

    def _write(self, cipher: SealingCipher, sha256: str, pieces: Iterator[bytes]) -> str:
        """Writes a whole blob under its new name, durably; returns the hash of what it is."""
        digest = hashlib.sha256()
        writer = _bytes(self._disk, cipher, sha256).create(self._path(sha256, _NEW))
        try:
            for piece in pieces:
                digest.update(piece)
                writer.write(piece)
            writer.finish()
        finally:
            writer.close()
        return digest.hexdigest()

    def _old(self, keep: Collection[str], older_than: int) -> set[str]:
        return {
            _name(path)
            for path in self._directory.glob("??/*")
            if _name(path) not in keep and path.stat().st_mtime_ns < older_than
        }


def _name(path: Path) -> str:
    return path.parent.name + path.name.partition(".")[0]


def _bytes(disk: Disk, cipher: SealingCipher, sha256: str) -> SealedBytes:
    return SealedBytes(disk, cipher, lambda _: sha256)


def piece_place(sha256: str, offset: int) -> Place:
    """Where the piece of an upload that begins at `offset` belongs."""
    return Place("blob", "piece", (sha256, str(offset)))


def _measure(part: Path) -> _Part:
    """Of a part that need not be there."""
    received = whole = 0
    try:
        size = part.stat().st_size
        with part.open("rb") as file:
            while head := os.pread(file.fileno(), _LENGTH.size, whole):
                length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else size
                if whole + _LENGTH.size + length > size:
                    break
                received += length - OVERHEAD
                whole += _LENGTH.size + length
    except FileNotFoundError:
        return _Part(0, 0)
    return _Part(received, whole)


def _pieces(part: Path, sha256: str, cipher: SealingCipher) -> Iterator[bytes]:
    """Raises Corrupt when one does not open."""
    offset = 0
    with part.open("rb") as file:
        while head := file.read(_LENGTH.size):
            piece = cipher.open(file.read(_LENGTH.unpack(head)[0]), piece_place(sha256, offset))
            offset += len(piece)
            yield piece
