"""Long content as a stream of sealed segments: for files and backups, which are too large for one body.

    head of 8 random bytes | segment | segment | … | last segment            a segment holds 64 KiB, the last one less

Each segment is a sealed body bound to the place, the stream's head, its number and whether it is the last: a stream
that was cut, put together from two, or put in another order does not open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import OVERHEAD, is_sealed

SEGMENT = 64 * 1024
HEAD = 8
WHOLE = SEGMENT + OVERHEAD
"""Bytes of a sealed segment that is not the last one."""


class StreamSealer:
    """Seals a stream that comes piece by piece. `cipher` must be one that seals."""

    def __init__(self, cipher: Cipher, place: Place) -> None:
        self._cipher = cipher
        self._place = place
        self._head = os.urandom(HEAD)
        self._number = 0
        self._waiting = bytearray()
        self._begun = False

    def add(self, piece: bytes) -> bytes:
        """Takes what comes next; returns the sealed form as far as it is certain, which lags by up to a segment."""
        self._waiting += piece
        sealed = [] if self._begun else [self._head]
        self._begun = True
        while len(self._waiting) > SEGMENT:
            sealed.append(self._segment(bytes(self._waiting[:SEGMENT]), last=False))
            del self._waiting[:SEGMENT]
        return b"".join(sealed)

    def end(self) -> bytes:
        """The rest of the sealed form; nothing may be added any more."""
        return self.add(b"") + self._segment(bytes(self._waiting), last=True)

    def _segment(self, plain: bytes, *, last: bool) -> bytes:
        place = segment_place(self._place, self._head, self._number, last=last)
        self._number += 1
        return self._cipher.seal(plain, place)


def seal_stream(content: Iterable[bytes], cipher: Cipher, place: Place) -> Iterator[bytes]:
    """The sealed form of `content`, piece by piece. `cipher` must be one that seals."""
    sealer = StreamSealer(cipher, place)
    for piece in content:
        yield sealer.add(piece)
    yield sealer.end()


def open_stream(sealed: Iterable[bytes], cipher: Cipher, place: Place) -> Iterator[bytes]:
    """What `seal_stream` was given. Raises Corrupt at the first segment that does not belong, also where it ends early.

    What was given out before that is right as far as it goes, but not all: use it only when the end was reached.
    """
    waiting = bytearray()
    head: bytes | None = None
    number = 0
    for piece in sealed:
        waiting += piece
        if head is None and len(waiting) >= HEAD:
            head = bytes(waiting[:HEAD])
            del waiting[:HEAD]
        while head is not None and len(waiting) > WHOLE:
            found = segment_place(place, head, number, last=False)
            yield open_segment(bytes(waiting[:WHOLE]), cipher, found)
            del waiting[:WHOLE]
            number += 1
    if head is None:
        raise Corrupt(f"cannot read {place}: it ends in its first bytes")
    yield open_segment(bytes(waiting), cipher, segment_place(place, head, number, last=True))


def open_segment(segment: bytes, cipher: Cipher, place: Place) -> bytes:
    """The content of one segment, whose `place` is of `segment_place`. Raises Corrupt."""
    if not is_sealed(segment):  # not even where plain bodies may be: then a cut would pass for one
        raise Corrupt(f"cannot read {place}: it ends early")
    return cipher.open(segment, place)


def segment_place(place: Place, head: bytes, number: int, *, last: bool) -> Place:
    """Where segment `number` of the stream that begins with `head` belongs."""
    words = (*place.row, head.hex(), str(number), "last" if last else "more")
    return Place(place.table, place.column, words)


def segments_of(size: int) -> int:
    """How many segments a sealed stream of `size` bytes has; 0: it is none."""
    rest = size - HEAD - OVERHEAD
    return 0 if rest < 0 else 1 + (max(rest, 1) - 1) // WHOLE
