"""Blobs in a directory: `ab/cdef…` by the SHA-256 of the content, pieces of an upload beside it as `….part`.

Implements `hub.ports.Blobs`. A part gets its name only when all of it is there, durable and hashed; an upload that
was cut goes on where the part ends, after a restart of the hub, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, NotFound, StorageFull, Transient
from skerry.kit.named_locks import NamedLocks
from skerry.wire.models import BlobState

_CHUNK = 256 * 1024
_PART = ".part"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class BlobDirectory:
    """All blobs of one hub. Disk work is done in threads."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        self._writing = NamedLocks()

    async def state(self, sha256: str) -> BlobState:
        return await asyncio.to_thread(self._state, sha256)

    async def add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        async with self._writing[sha256]:
            try:
                return await asyncio.to_thread(self._add, sha256, offset, size, data)
            except OSError as error:
                sentence = f"cannot keep blob {sha256[:12]}…: {error.strerror}"
                if error.errno in _FULL:
                    raise StorageFull(f"{sentence}. Make room at the hub.") from error
                raise Transient(sentence) from error

    async def size(self, sha256: str) -> int | None:
        state = await self.state(sha256)
        return state.received if state.complete else None

    async def read(self, sha256: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            file = self._path(sha256).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"cannot read blob {sha256[:12]}…: the hub does not have it") from error
        with file:
            file.seek(start)
            while start < end:
                chunk = await asyncio.to_thread(file.read, min(_CHUNK, end - start))
                if not chunk:
                    raise Transient(f"cannot read blob {sha256[:12]}…: it is shorter than it was")
                start += len(chunk)
                yield chunk

    async def remove(self, sha256: str) -> None:
        async with self._writing[sha256]:
            for path in (self._path(sha256), self._part(sha256)):
                await asyncio.to_thread(self._disk.unlink, "blob.remove", path)

    async def sweep(self, keep: Collection[str], older_than: int) -> int:
        return await asyncio.to_thread(self._sweep, keep, older_than)

    def _path(self, sha256: str) -> Path:
        return self._directory / sha256[:2] / sha256[2:]

    def _part(self, sha256: str) -> Path:
        path = self._path(sha256)
        return path.with_name(path.name + _PART)

    def _state(self, sha256: str) -> BlobState:
        path = self._path(sha256)
        # Who adds to it meanwhile may give the part its name between two looks: then the third one finds it.
        for each in (path, self._part(sha256), path):
            with contextlib.suppress(FileNotFoundError):
                return BlobState(sha256, each.stat().st_size, complete=each is path)
        return BlobState(sha256, 0, complete=False)

    def _add(self, sha256: str, offset: int, size: int, data: bytes) -> BlobState:
        state = self._state(sha256)
        if state.complete or state.received != offset or offset + len(data) > size:
            return state
        part = self._part(sha256)
        self._disk.make_directory("blob.directory", part.parent)
        fd = self._disk.open_append("blob.open", part)
        try:
            self._disk.append("blob.append", fd, data)
            self._disk.sync("blob.sync", fd)
        finally:
            os.close(fd)
        received = offset + len(data)
        if received < size:
            return BlobState(sha256, received, complete=False)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            self._disk.unlink("blob.refuse", part)
            raise InvalidInput(
                f"cannot keep blob {sha256[:12]}…: what came is {found[:12]}…. Send it again."
            )
        self._disk.rename("blob.keep", part, self._path(sha256))
        return BlobState(sha256, received, complete=True)

    def _sweep(self, keep: Collection[str], older_than: int) -> int:
        removed = 0
        for path in self._directory.glob("??/*"):
            sha256 = path.parent.name + path.name.removesuffix(_PART)
            if sha256 not in keep and path.stat().st_mtime_ns < older_than:
                self._disk.unlink("blob.sweep", path)
                removed += 1
        return removed
