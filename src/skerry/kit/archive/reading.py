"""Reading an archive: what it is, whether it is whole, what is in it, and putting that into a directory.

Every pass reads the whole file and compares its checksum at the end; what came out before is right only if that
succeeds, so `extract` writes into a directory that counts for nothing yet.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar, cast

import zstandard

from skerry.kit.archive.format import (
    BLOCK,
    DIGEST,
    Contents,
    Frames,
    Member,
    Progress,
    Readable,
    read_header,
)
from skerry.kit.archive.wrapping import ArchiveKey
from skerry.kit.disk import Disk, sync_directory
from skerry.kit.errors import Corrupt, Refused
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.stream import open_stream

_LARGEST_WINDOW = 8 * 1024 * 1024

T = TypeVar("T")


def body_place(start: bytes) -> Place:
    """Where a sealed body belongs: behind the header that is these bytes, and no other."""
    return Place("archive", "body", (hashlib.sha256(start).hexdigest(),))


class Archive:
    """An archive file. Raises Corrupt when it is none, Refused when a newer Skerry wrote it, OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.header, self._start = self._told(lambda: read_header(file))
        self.size = path.stat().st_size

    def check(self, progress: Progress = lambda _: None) -> None:
        """Reads it whole and compares its checksum: finds truncation and flipped bits, and needs no key. Raises Corrupt."""
        with self._body(progress) as body:
            while body.read(BLOCK):
                pass
            self._told(body.compare)

    def verify(self, key: ArchiveKey | None, progress: Progress = lambda _: None) -> Contents:
        """Reads it whole, every member too, and puts nothing anywhere. Raises Corrupt."""
        with closing(self.members(key, progress)) as members:
            for member in members:
                for _ in member.content:
                    pass
        return self._contents

    def extract(
        self,
        key: ArchiveKey | None,
        into: Path,
        disk: Disk,
        *,
        wanted: Callable[[str], bool] = lambda _: True,
        progress: Progress = lambda _: None,
    ) -> Contents:
        """Writes the members whose names are `wanted` below `into`, synced. Raises Corrupt, OSError: then use nothing."""
        directories = {into}
        with closing(self.members(key, progress)) as members:
            for member in members:
                if wanted(member.name):
                    directories |= _put(member, into, disk)
                else:
                    for _ in member.content:
                        pass
        for directory in sorted(directories, reverse=True):
            sync_directory(directory)
        return self._contents

    def members(
        self, key: ArchiveKey | None, progress: Progress = lambda _: None
    ) -> Generator[Member, None, None]:
        """The members, one after the other; each must be read to its end. Raises Corrupt, at the latest at the end."""
        if self.header.sealed and key is None:
            raise Refused(f"cannot read {self.path}: it is encrypted, and its key is not known")
        with self._body(progress) as body:
            pieces = iter(lambda: body.read(BLOCK), b"")
            if key is not None:
                pieces = open_stream(pieces, key.cipher(), body_place(self._start))
            frames = Frames(_decompressed(pieces))
            yield from self._telling(frames.members())
            self._told(body.compare)
        assert frames.contents is not None  # noqa: S101 - the members have come to their end
        self._contents = frames.contents

    def _telling(self, members: Iterator[Member]) -> Iterator[Member]:
        while (member := self._told(lambda: next(members, None))) is not None:
            yield Member(member.name, self._pieces(iter(member.content)))

    def _pieces(self, content: Iterator[bytes]) -> Iterator[bytes]:
        while (piece := self._told(lambda: next(content, None))) is not None:
            yield piece

    def _body(self, progress: Progress) -> _Body:
        return _Body(self.path, self._start, self.size, progress)

    def _told(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except zstandard.ZstdError as error:
            raise Corrupt(
                f"cannot use backup {self.path}: its content is not what was written"
            ) from error
        except Corrupt as error:
            raise Corrupt(f"cannot use backup {self.path}: {error}") from error
        except Refused as error:
            raise Refused(
                f"cannot use backup {self.path}: {error}. Install the newer Skerry."
            ) from error


class _Body:
    """What is between the header and the checksum, whatever is made of it; all that is read counts for the checksum."""

    def __init__(self, path: Path, start: bytes, size: int, progress: Progress) -> None:
        self._file = path.open("rb")
        self._file.seek(len(start))
        self._left = size - len(start) - DIGEST
        self._digest = hashlib.sha256(start)
        self._progress = progress

    def __enter__(self) -> _Body:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        piece = self._file.read(min(size, max(self._left, 0)))
        self._left -= len(piece)
        self._digest.update(piece)
        self._progress(len(piece))
        return piece

    def compare(self) -> None:
        """Reads what is left, and the checksum. Raises Corrupt."""
        while self.read(BLOCK):
            pass
        if self._left or self._file.read(DIGEST) != self._digest.digest():
            raise Corrupt("it is not what was written, or a part of it is missing")


class _Pieces:
    """An iterator of pieces as a stream, for what must not be given more than it asks for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._waiting = b""

    def read(self, size: int) -> bytes:
        if not self._waiting:
            self._waiting = next(self._pieces, b"")
        piece, self._waiting = self._waiting[:size], self._waiting[size:]
        return piece


def _decompressed(pieces: Iterator[bytes]) -> Readable:
    """A few bytes may stand for gigabytes of zeros: only as much as is asked for is ever made of them."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    stream: Readable = decompressor.stream_reader(
        cast("IO[bytes]", _Pieces(pieces)), read_size=BLOCK
    )
    return stream


def _put(member: Member, into: Path, disk: Disk) -> set[Path]:
    """Writes one member; returns the directories that have new entries."""
    path = into / member.name
    above = path.parents[: len(path.relative_to(into).parts)]
    for directory in reversed(above):
        disk.make_directory("archive.directory", directory)
    fd = disk.open_append("archive.extract", path)
    try:
        for piece in member.content:
            disk.append("archive.extract", fd, piece)
        disk.sync("archive.extracted", fd)
    finally:
        os.close(fd)
    return set(above)
