"""Cuts a file into chunks by its content, so that the hub recognises what it has of it in another one.

Loaded with the first file that is sent. The library is optional: without it (there are no wheels for 32-bit ARM) the
chunks are equally long, and only what moves within a file is not recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from skerry.kit.errors import Corrupt
from skerry.wire.files import FileChunk, FileManifest

SMALLEST, AVERAGE, LARGEST = 16 * 1024, 64 * 1024, 256 * 1024

Reader = Callable[[int, int], bytes]
"""(start, size) → the bytes of a file."""


class _Stream:
    """A file front to back, as the chunker reads it; hashes what passes."""

    def __init__(self, read: Reader, size: int) -> None:
        self._read = read
        self._left = size
        self._at = 0
        self.digest = hashlib.sha256()

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Fills the buffer as far as there is something."""
        size = min(len(buffer), self._left)
        data = self._read(self._at, size) if size else b""
        buffer[:size] = data
        self.digest.update(data)
        self._at += size
        self._left -= size
        return size


def manifest_of(sha256: str, size: int, read: Reader) -> FileManifest:
    """Reads all of a file. Raises Corrupt when it is not what its name says. Blocks: not for the event loop."""
    stream = _Stream(read, size)
    pieces = _whole(stream, size) if size <= AVERAGE else _cut(stream)
    chunks = [FileChunk(hashlib.sha256(data).hexdigest(), len(data)) for data in pieces]
    found = stream.digest.hexdigest()
    if found != sha256:
        raise Corrupt(f"cannot send file {sha256[:12]}…: on the disk it is {found[:12]}… by now")
    return FileManifest(sha256, size, chunks)


def _whole(stream: _Stream, size: int) -> Iterator[bytes]:
    data = bytearray(size)
    if stream.readinto(data):
        yield bytes(data)


def _cut(stream: _Stream) -> Iterator[bytes | memoryview]:
    try:
        from pyfastcdc import FastCDC  # noqa: PLC0415 - memory that only nodes with files need
    except ImportError:
        while size := stream.readinto(data := bytearray(AVERAGE)):
            yield bytes(data[:size])
        return
    cutter = FastCDC(avg_size=AVERAGE, min_size=SMALLEST, max_size=LARGEST)
    for chunk in cutter.cut_stream(stream):
        yield chunk.data
