"""Files on a stick: written so that one which has its name is whole, on FAT, too, and read back before it gets it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from skerry.kit.clock import iso
from skerry.kit.disk import sync_directory
from skerry.kit.errors import Corrupt, InvalidInput, Refused, SkerryError, StorageFull
from skerry.wire.stick import (
    DATA_SUFFIX,
    HEADER,
    LAST,
    MAGIC,
    PART_SUFFIX,
    RECEIPT_SUFFIX,
    StickHeader,
    frame,
    read_frames,
    read_header,
)

_MARGIN = 1024 * 1024
"""Bytes that are left free: a file system's own needs grow with what is written."""

_READ = 1024 * 1024


def checked_target(target: Path) -> Path:
    """Raises InvalidInput unless it is a directory that can be read."""
    if not target.is_dir():
        raise InvalidInput(
            f"cannot use {target}: it is no directory. Name the one under which the stick is mounted"
        )
    return target


def room_on(target: Path) -> int:
    """Bytes that may be written there."""
    return max(shutil.disk_usage(target).free - _MARGIN, 0)


def name_of(header: StickHeader) -> str:
    """Of a file without its suffix: for FAT, and without a word that a finder should not read."""
    stamp = iso(header.made_at)[:19].replace("-", "").replace(":", "")
    return f"{_prefix(header.node)}{stamp}Z-{header.part:03d}-{header.id[:6]}"


def data_files(target: Path) -> list[Path]:
    """What nodes have written there, by name."""
    return sorted(target.glob(f"skerry-*{DATA_SUFFIX}"))


def receipts(target: Path) -> list[Path]:
    """What hubs have written there, by name."""
    return sorted(target.glob(f"skerry-*{RECEIPT_SUFFIX}"))


def unfinished(target: Path, node_id: str = "") -> list[Path]:
    """What a pulled stick or a kill has left, of this node or of all."""
    prefix = _prefix(node_id) if node_id else "skerry-"
    return sorted(target.glob(f"{prefix}*{PART_SUFFIX}"))


def _prefix(node_id: str) -> str:
    return f"skerry-{node_id[-8:]}-"


def header_of(path: Path) -> tuple[StickHeader, bytes]:
    """The header of a file, and its frame. Raises Corrupt, InvalidInput, Refused."""
    with reading(path) as file:
        kind, content = next(read_frames(file))
    if kind != HEADER:
        raise Corrupt("it has no header")
    return read_header(content), frame(HEADER, content)


def blocks_of(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The other frames of a file. Raises as `header_of`."""
    with reading(path) as file:
        yield from (found for found in read_frames(file) if found[0] != HEADER)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The file, opened. Errors of the medium become Refused, and name the file."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}. Is the stick still there?") from error


def write_whole(path: Path, data: bytes) -> None:
    """Writes a small file. Raises Refused, StorageFull."""
    writer = StickFile(path)
    try:
        writer.write(data)
        writer.finish()
    finally:
        writer.discard()


class StickFile:
    """A file that is being written: beside its name until `finish`. Every call raises StorageFull or Refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._part = path.with_name(path.name + PART_SUFFIX)
        self._hash = hashlib.sha256()
        with _explained(path):
            self._file = self._part.open("wb")

    def write(self, data: bytes) -> None:
        """Adds to it."""
        with _explained(self.path):
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Makes it durable, reads it back from the medium and gives it its name."""
        with _explained(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            # What the page cache still has would prove nothing about the stick.
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._file.close()
            if _sha256(self._part) != self._hash.digest():
                raise Refused(
                    f"cannot write {self.path}: what can be read there is not what was written. Use another stick"
                )
            self._part.replace(self.path)
            _sync_names(self.path.parent)

    def discard(self) -> None:
        """Removes what is there of it without its name."""
        with contextlib.suppress(
            OSError
        ):  # the stick may be gone; then nothing is left of it anyway
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


class Unpacking:
    """Writes the frames of an export into files of `target`; `done` are those that are whole."""

    def __init__(self, target: Path) -> None:
        self.done: list[Path] = []
        self.bytes = 0
        self._target = target
        self._file: StickFile | None = None

    def take(self, kind: bytes, content: bytes) -> None:
        """One frame. Raises StorageFull, Refused, InvalidInput."""
        if kind == HEADER:
            path = self._target / (name_of(read_header(content)) + DATA_SUFFIX)
            self._file = StickFile(path)
            self._file.write(MAGIC)
        if self._file is None:
            raise InvalidInput("cannot read what the node sends: is it of the same version?")
        self._file.write(frame(kind, content))
        if kind == LAST:
            self._file.finish()
            self.done.append(self._file.path)
            self.bytes += self._file.size
            self._file = None

    def stop(self) -> None:
        """Removes what is not whole."""
        if self._file is not None:
            self._file.discard()
            self._file = None


def _sync_names(directory: Path) -> None:
    try:
        sync_directory(directory)
    except (
        OSError
    ) as error:  # file systems of FUSE (NTFS, exFAT) may not know it; unmounting writes all
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise


def _sha256(path: Path) -> bytes:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ):
            found.update(data)
    return found.digest()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: OSError) -> SkerryError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageFull(f"cannot write {path.name}: the stick is full")
    if error.errno in {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT}:
        return Refused(f"cannot write {path.name}: {error.strerror}. Was the stick pulled out?")
    return Refused(f"cannot write {path.name}: {error.strerror}")
