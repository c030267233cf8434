"""Long work on files, done in threads: hashing, copying, writing behind a download. Ends early when it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from skerry.kit.disk import Disk
from skerry.kit.errors import Refused, Transient

_CHUNK = 1024 * 1024
_BEHIND = 1024 * 1024
"""Bytes that may wait for the disk before nothing more is read from the network."""


class Stopped(Exception):
    """The work was told to end."""


def sha256_of(path: Path, stop: threading.Event) -> str:
    """The hash of a file's content as it is on the disk now. Raises OSError, Stopped."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if stop.is_set():
                raise Stopped
    return digest.hexdigest()


def copy_file(source: Path, part: Path, size: int, disk: Disk, stop: threading.Event) -> None:
    """Makes `part` a copy of a regular file of `size` bytes. Raises Refused, Transient, OSError (of `part`), Stopped."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Transient(f"cannot read {source}: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"cannot read {source}: it is no file")
        if found.st_size != size:
            raise Refused(
                f"cannot take {source}: it has {found.st_size} bytes, the model says {size}"
            )
        disk.unlink("model.restart", part)
        target = disk.open_append("model.open", part)
        try:
            left = size
            while left and (chunk := file.read(min(_CHUNK, left))):
                disk.append("model.append", target, chunk)
                left -= len(chunk)
                if stop.is_set():
                    raise Stopped
        finally:
            os.close(target)


class WriteBehind:
    """Writes to a file in a thread while its caller goes on reading, so that a cut loses nothing that had come."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._waiting = bytearray()
        self._writing: asyncio.Future[None] | None = None

    async def put(self, data: bytes) -> None:
        """Takes data; waits only when too much is waiting already. Raises OSError of an earlier write."""
        self._waiting += data
        if self._writing is not None and not self._writing.done():
            if len(self._waiting) < _BEHIND:
                return
            await self._settled()
        self._begin()

    async def flush(self) -> None:
        """Returns when everything is in the file. Raises OSError."""
        await self._settled()
        self._begin()
        await self._settled()

    async def settle(self) -> None:
        """Returns when no thread writes any more; for the end, whatever it is."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.exception()  # who cares has heard of it

    async def _settled(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    def _begin(self) -> None:
        if self._writing is not None:
            self._writing.result()
        if self._waiting:
            data, self._waiting = bytes(self._waiting), bytearray()
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, data)
