"""Long content as a stream of sealed segments: for files and backups, which are too large for one body.

    head of 8 random bytes | segment | segment | … | last segment            a segment holds 64 KiB, the last one less

Each segment is a sealed body bound to the place, the stream's head, its number and whether it is the last: a stream
that was cut, put together from two, or put in another order does not open.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import OVERHEAD, is_sealed

SEGMENT = 64 * 1024
_HEAD = 8


def seal_stream(content: Iterable[bytes], cipher: Cipher, place: Place) -> Iterator[bytes]:
    """The sealed form of `content`, piece by piece. `cipher` must be one that seals."""
    head = os.urandom(_HEAD)
    yield head
    numbers = itertools.count()
    waiting = bytearray()
    for piece in content:
        waiting += piece
        while len(waiting) > SEGMENT:
            yield cipher.seal(bytes(waiting[:SEGMENT]), _of(place, head, next(numbers), last=False))
            del waiting[:SEGMENT]
    yield cipher.seal(bytes(waiting), _of(place, head, next(numbers), last=True))


def open_stream(sealed: Iterable[bytes], cipher: Cipher, place: Place) -> Iterator[bytes]:
    """What `seal_stream` was given. Raises Corrupt at the first segment that does not belong, also where it ends early.

    What was given out before that is right as far as it goes, but not all: use it only when the end was reached.
    """
    waiting = bytearray()
    head: bytes | None = None
    number = 0
    whole = SEGMENT + OVERHEAD
    for piece in sealed:
        waiting += piece
        if head is None and len(waiting) >= _HEAD:
            head = bytes(waiting[:_HEAD])
            del waiting[:_HEAD]
        while head is not None and len(waiting) > whole:
            yield _opened(bytes(waiting[:whole]), cipher, _of(place, head, number, last=False))
            del waiting[:whole]
            number += 1
    if head is None:
        raise Corrupt(f"cannot read {place}: it ends in its first bytes")
    yield _opened(bytes(waiting), cipher, _of(place, head, number, last=True))


def _opened(segment: bytes, cipher: Cipher, place: Place) -> bytes:
    if not is_sealed(segment):  # not even where plain bodies may be: then a cut would pass for one
        raise Corrupt(f"cannot read {place}: it ends early")
    return cipher.open(segment, place)


def _of(place: Place, head: bytes, number: int, *, last: bool) -> Place:
    words = (*place.row, head.hex(), str(number), "last" if last else "more")
    return Place(place.table, place.column, words)
