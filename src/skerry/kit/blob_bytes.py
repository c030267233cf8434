"""How the bytes of a blob lie in its file: as they are. Where encryption is on, `kit.sealing.blobs` seals them.

A blob is written once, front to back, in multiples of `PIECE` but for the last piece, then read by ranges.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt

PIECE = 1024 * 1024


class BlobWriter(Protocol):
    """A blob that is being written. Every call blocks: not for the event loop."""

    def write(self, data: bytes) -> None:
        """Takes the next bytes: `PIECE` of them, or fewer, and then they are the last. Raises OSError."""
        ...

    def finish(self) -> None:
        """Returns when all of it is durable; nothing more may be written."""
        ...

    def close(self) -> None:
        """Gives the file back; harmless after `finish`."""
        ...


class BlobBytes(Protocol):
    """Writes and reads files of blobs."""

    def create(self, path: Path) -> BlobWriter:
        """Begins a new file, for its owner only. Raises OSError."""
        ...

    def read(self, path: Path, start: int, size: int) -> bytes:
        """`size` bytes of the blob from `start` on. Raises Corrupt when they are not there, FileNotFoundError."""
        ...

    def size(self, path: Path) -> int:
        """Bytes of the blob, not of its file. Raises FileNotFoundError."""
        ...

    def is_current(self, path: Path) -> bool:
        """Whether all of it lies there as `create` would write it now. Raises FileNotFoundError."""
        ...


class PlainBytes:
    """Implements `BlobBytes`: a blob's file has its bytes and nothing else."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def create(self, path: Path) -> BlobWriter:
        self._disk.unlink("file.anew", path)
        return _PlainWriter(self._disk, self._disk.open_append("file.open", path))

    def read(self, path: Path, start: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        if len(data) < size:
            raise Corrupt(f"cannot read {path}: it is shorter than it was")
        return data

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def is_current(self, path: Path) -> bool:
        path.stat()
        return True


class _PlainWriter:
    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self._fd: int | None = fd

    def write(self, data: bytes) -> None:
        assert self._fd is not None  # noqa: S101 - see BlobWriter.finish
        self._disk.append("file.append", self._fd, data)

    def finish(self) -> None:
        assert self._fd is not None  # noqa: S101 - see BlobWriter.finish
        self._disk.sync("file.sync", self._fd)
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
