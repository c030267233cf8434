"""Blobs whose files are sealed streams: `SealedBytes` takes the place of `kit.blob_bytes.PlainBytes`.

A blob's file opens only under the blob's own name, whole and in order: besides the segments that are asked for, each
read opens the last one, so a file that was cut is damaged for every reader. Where encryption was switched on later,
files from before are read as they are until none is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from skerry.kit.blob_bytes import BlobWriter, PlainBytes
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Place
from skerry.kit.sealing.format import MARK, OVERHEAD, is_sealed, key_id_of
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

NAMED = len(MARK) + 4
"""Bytes of a segment that say by which key it is sealed."""


class SealedBytes:
    """Implements `BlobBytes`. `name_of` says for a path which blob lies there, or is being written there."""

    def __init__(self, disk: Disk, cipher: SealingCipher, name_of: Callable[[Path], str]) -> None:
        self._disk = disk
        self._cipher = cipher
        self._name_of = name_of
        self._plain = PlainBytes(disk)

    def create(self, path: Path) -> BlobWriter:
        sealer = StreamSealer(self._cipher, self._place(path))
        return _SealedWriter(self._plain.create(path), sealer)

    def read(self, path: Path, start: int, size: int) -> bytes:
        while True:
            with path.open("rb") as file:
                try:
                    if self._is_from_before(file):
                        return _plain(file, path, start, size)
                    return self._read(file, path, start, size)
                except Corrupt:
                    # If it was sealed anew meanwhile, the key of the file that is open here may be no more.
                    if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        raise

    def size(self, path: Path) -> int:
        with path.open("rb") as file:
            stored = os.fstat(file.fileno()).st_size
            if self._is_from_before(file):
                return stored
        return max(stored - HEAD - OVERHEAD * segments_of(stored), 0)

    def is_current(self, path: Path) -> bool:
        with path.open("rb") as file:
            count = segments_of(os.fstat(file.fileno()).st_size)
            starts = (os.pread(file.fileno(), NAMED, HEAD + n * WHOLE) for n in range(count))
            return count > 0 and all(map(self._cipher.is_current, starts))

    def _read(self, file: BinaryIO, path: Path, start: int, size: int) -> bytes:
        place, head = self._place(path), os.pread(file.fileno(), HEAD, 0)
        last = segments_of(os.fstat(file.fileno()).st_size) - 1
        if last < 0:
            raise Corrupt(f"cannot read {path}: it ends in its first bytes")

        def segment(number: int) -> bytes:
            sealed = os.pread(file.fileno(), WHOLE + 1, HEAD + number * WHOLE)
            if number < last:
                sealed = sealed[:WHOLE]
            bound = segment_place(place, head, number, last=number == last)
            return open_segment(sealed, self._cipher, bound)

        first, until = start // SEGMENT, -(-(start + size) // SEGMENT)
        end = segment(last)
        numbers = range(first, min(until, last + 1))
        data = b"".join(end if number == last else segment(number) for number in numbers)
        skipped = start - first * SEGMENT
        if len(data) < skipped + size:
            raise Corrupt(f"cannot read {path}: it is shorter than it was")
        return data[skipped : skipped + size]

    def _is_from_before(self, file: BinaryIO) -> bool:
        """Only while there may be such files; and what names a key of this ring is none of them."""
        now = self._cipher.now
        if not now.plain:
            return False
        start = os.pread(file.fileno(), NAMED, HEAD)
        return not is_sealed(start) or key_id_of(start) not in now.opening

    def _place(self, path: Path) -> Place:
        return content_place(self._name_of(path))


def content_place(name: str) -> Place:
    """Where the content of blob `name` belongs, wherever its bytes lie."""
    return Place("file", "content", (name,))


def _plain(file: BinaryIO, path: Path, start: int, size: int) -> bytes:
    data = os.pread(file.fileno(), size, start)
    if len(data) < size:
        raise Corrupt(f"cannot read {path}: it is shorter than it was")
    return data


class _SealedWriter:
    def __init__(self, writer: BlobWriter, sealer: StreamSealer) -> None:
        self._writer = writer
        self._sealer = sealer

    def write(self, data: bytes) -> None:
        self._writer.write(self._sealer.add(data))

    def finish(self) -> None:
        self._writer.write(self._sealer.end())
        self._writer.finish()

    def close(self) -> None:
        self._writer.close()
