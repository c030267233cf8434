"""What a file consists of, and what of it comes next. Pure."""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from skerry.kit.errors import InvalidInput
from skerry.wire.files import FileManifest

_CHUNK = struct.Struct(">32sI")


@dataclass(frozen=True)
class Chunk:
    """Bytes `start` to before `end` of a file, and their SHA-256."""

    sha256: str
    start: int
    end: int


@dataclass(frozen=True)
class Checked:
    """`verified` bytes may be kept; `rest` is the beginning of a chunk; `wrong`: what follows is not what was said."""

    verified: bytes
    rest: bytes
    wrong: bool = False


class Layout:
    """The chunks of one file, in order."""

    def __init__(self, hashes: list[bytes], sizes: list[int]) -> None:
        self._hashes = hashes
        self._ends = list(accumulate(sizes))
        self._sizes = sizes

    @classmethod
    def of(cls, manifest: FileManifest) -> Layout:
        """Raises InvalidInput when the chunks are not the whole."""
        sizes = [chunk.size for chunk in manifest.chunks]
        if sum(sizes) != manifest.size:
            raise InvalidInput(
                f"cannot take file {manifest.sha256[:12]}…: its chunks have {sum(sizes)} of {manifest.size} bytes"
            )
        return cls([bytes.fromhex(chunk.sha256) for chunk in manifest.chunks], sizes)

    @classmethod
    def unpacked(cls, data: bytes) -> Layout:
        """What `packed` has made."""
        pairs = list(_CHUNK.iter_unpack(data))
        return cls([found for found, _ in pairs], [size for _, size in pairs])

    def packed(self) -> bytes:
        """For the database: 36 bytes a chunk."""
        return b"".join(map(_CHUNK.pack, self._hashes, self._sizes))

    @cached_property
    def size(self) -> int:
        """Of the whole."""
        return self._ends[-1] if self._ends else 0

    @cached_property
    def chunks(self) -> list[Chunk]:
        """All of them."""
        return [
            Chunk(found.hex(), end - size, end)
            for found, end, size in zip(self._hashes, self._ends, self._sizes, strict=True)
        ]

    def following(self, at: int, window: int) -> list[Chunk]:
        """The chunk that `at` lies in and those after it, until they have `window` bytes."""
        first = bisect_right(self._ends, at)
        found = []
        for index in range(first, len(self._ends)):
            end = self._ends[index]
            found.append(Chunk(self._hashes[index].hex(), end - self._sizes[index], end))
            if end - at >= window:
                break
        return found

    def check(self, at: int, data: bytes) -> Checked:
        """Which of `data`, the bytes from `at` on, are whole chunks that are what they should be.

        A chunk that begins before `at` cannot be checked by itself; the hash of the whole still tells.
        """
        done = 0
        for chunk in self.following(at, len(data) or 1):
            if chunk.end > at + len(data):
                break
            piece = data[max(chunk.start - at, 0) : chunk.end - at]
            if chunk.start >= at and hashlib.sha256(piece).hexdigest() != chunk.sha256:
                return Checked(data[:done], b"", wrong=True)
            done = chunk.end - at
        return Checked(data[:done], data[done:])

    def wanted(self, at: int, window: int, known: Collection[str]) -> int:
        """Up to where a node should send, from `at` on: whole chunks, to one that is known, at most `window` bytes."""
        end = at
        for chunk in self.following(at, window):
            if chunk.sha256 in known and chunk.start >= at:
                break
            if chunk.end - at > window:
                return end if end > at else at + window
            end = chunk.end
        return end
