"""Writing an archive: as FILE.part, synced, read back whole, and only then under its name.

Members are asked for one after the other and pass through in pieces, so memory does not grow with what is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import zstandard

from skerry.kit.archive.format import (
    BLOCK,
    Contents,
    Header,
    Member,
    Progress,
    encode_header,
    frames,
)
from skerry.kit.archive.reading import Archive, body_place
from skerry.kit.archive.wrapping import ArchiveKey
from skerry.kit.disk import Disk
from skerry.kit.sealing.stream import seal_stream

PART = ".part"
_LEVEL = 3


class Written(msgspec.Struct, frozen=True):
    """An archive that is there, and was read back."""

    path: Path
    size: int
    contents: Contents


def of_file(name: str, path: Path, size: int | None = None) -> Member:
    """A member from a file, of which only the first `size` bytes count if that is given."""
    return Member(name, _read(path, size))


def of_bytes(name: str, data: bytes) -> Member:
    """A member from what is in memory."""
    return Member(name, (data,))


def write_archive(
    path: Path,
    header: Header,
    members: Iterable[Member],
    *,
    key: ArchiveKey | None,
    disk: Disk,
    progress: Progress = lambda _: None,
) -> Written:
    """Writes, syncs, verifies and names an archive; `header` gets the wraps of `key`. Blocks.

    Raises OSError, Corrupt (what was read back is not what was written) and what `members` raise; then nothing is left.
    """
    header = msgspec.structs.replace(header, wraps=[] if key is None else key.wraps)
    part = path.with_name(path.name + PART)
    disk.unlink("archive.part", part)
    with ExitStack() as undoing:
        undoing.callback(part.unlink, missing_ok=True)  # on a full disk it would only take room
        _write(part, _whole(header, members, key), disk, progress)
        contents = Archive(part).verify(key, progress)
        size = part.stat().st_size
        disk.rename("archive.keep", part, path)
        undoing.pop_all()
    return Written(path, size, contents)


def _write(part: Path, pieces: Iterable[bytes], disk: Disk, progress: Progress) -> None:
    fd = disk.open_append("archive.open", part)
    try:
        waiting = bytearray()
        for piece in pieces:
            waiting += piece
            if len(waiting) >= BLOCK:
                disk.append("archive.append", fd, bytes(waiting))
                progress(len(waiting))
                waiting.clear()
        disk.append("archive.append", fd, bytes(waiting))
        progress(len(waiting))
        disk.sync("archive.sync", fd)
    finally:
        os.close(fd)


def _whole(header: Header, members: Iterable[Member], key: ArchiveKey | None) -> Iterator[bytes]:
    start = encode_header(header)
    digest = hashlib.sha256(start)
    yield start
    body = _compressed(frames(members))
    if key is not None:
        body = seal_stream(body, key.cipher(), body_place(start))
    for piece in body:
        digest.update(piece)
        yield piece
    yield digest.digest()


def _compressed(content: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    for piece in content:
        out = compressor.compress(piece)
        if out:
            yield out
    yield compressor.flush()


def _read(path: Path, size: int | None) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left is None or left > 0:
            piece = file.read(BLOCK if left is None else min(BLOCK, left))
            if not piece:
                return
            if left is not None:
                left -= len(piece)
            yield piece
