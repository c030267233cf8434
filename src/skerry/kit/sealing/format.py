"""The sealed form of a body. Pure: bytes in, values out.

    0xE1 | version 1 | key id 4 | nonce 12 | ciphertext | tag 16

No text in UTF-8 begins with 0xE1 0x01, and no JSON does, so what is sealed is known by its first bytes.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

VERSION = 1
SCHEMA = 1
"""Of the places: raised when a table, column or row means something else from then on."""

MARK = bytes((0xE1, VERSION))
OVERHEAD = 34
"""Bytes of a sealed body besides its content."""

_ID = struct.Struct(">I")
_NONCE = 12
START = len(MARK) + _ID.size + _NONCE
"""Bytes before the ciphertext."""

_TAG = 16


class Parts(NamedTuple):
    """What a sealed body consists of; `secret` is ciphertext and tag."""

    key_id: int
    nonce: bytes
    secret: bytes


def head(key_id: int) -> bytes:
    """The bytes that every body sealed with this key begins with."""
    return MARK + _ID.pack(key_id)


def is_sealed(data: bytes) -> bool:
    """Whether `data` has the sealed form, by its first bytes."""
    return data[: len(MARK)] == MARK


def key_id_of(sealed: bytes) -> int:
    """The key that `sealed` names; 0, which is no key, when it is too short to name one."""
    if len(sealed) < len(MARK) + _ID.size:
        return 0
    found: int = _ID.unpack_from(sealed, len(MARK))[0]
    return found


def take_apart(sealed: bytes) -> Parts | None:
    """None: too short to be a sealed body."""
    if len(sealed) < START + _TAG or not is_sealed(sealed):
        return None
    return Parts(key_id_of(sealed), sealed[START - _NONCE : START], sealed[START:])


def bound_to(key_id: int, words: Iterable[str]) -> bytes:
    """What is authenticated beside the content: no two lists of words give the same bytes."""
    parts = tuple(words)
    text = "".join(parts)
    if text.isascii():  # as nearly always: this is done for every row
        content, sizes = text.encode(), [len(part) for part in parts]
    else:
        content = text.encode(errors="surrogatepass")
        sizes = [len(part.encode(errors="surrogatepass")) for part in parts]
    count = len(parts)
    return b"".join((_begin(key_id, count), _sizes(count).pack(*sizes), content))


def binder(key_id: int, words: Iterable[str]) -> Callable[[str | tuple[str, ...]], bytes]:
    """`bound_to` for many lists of words that are the same but for one or some more at the end, which are given each time."""
    texts = [word.encode(errors="surrogatepass") for word in words]
    count = len(texts)
    sizes, content = _sizes(count).pack(*map(len, texts)), b"".join(texts)
    begin, size = _begin(key_id, count + 1) + sizes, _sizes(1).pack

    def bound(last: str | tuple[str, ...]) -> bytes:
        if isinstance(last, str):
            text = last.encode(errors="surrogatepass")
            return b"".join((begin, size(len(text)), content, text))
        start, pack = _begin(key_id, count + len(last)), _sizes(len(last)).pack
        joined = "".join(last)
        if joined.isascii():
            return b"".join((start, sizes, pack(*map(len, last)), content, joined.encode()))
        more = [word.encode(errors="surrogatepass") for word in last]
        return b"".join((start, sizes, pack(*map(len, more)), content, *more))

    return bound


def bounds(
    key_id: int, words: tuple[str, ...], lasts: Sequence[str | tuple[str, ...]]
) -> list[bytes]:
    """`bound_to` for `words` with each of `lasts` at the end: for thousands of rows, where most of the cost is calls."""
    ends = [(last,) if isinstance(last, str) else last for last in lasts]
    texts = list(map("".join, ends))
    counts = set(map(len, ends))
    if len(counts) != 1 or not "".join((*words, *texts)).isascii():
        return list(map(binder(key_id, words), ends))
    [more] = counts
    start = _begin(key_id, len(words) + more) + _sizes(len(words)).pack(*map(len, words))
    content = "".join(words).encode()
    sizes = map(_sizes(more).pack, *(map(len, column) for column in zip(*ends, strict=True)))
    return [start + size + content + text.encode() for size, text in zip(sizes, texts, strict=True)]


@functools.lru_cache(maxsize=64)
def _begin(key_id: int, count: int) -> bytes:
    return MARK + bytes((SCHEMA, count)) + _ID.pack(key_id)


@functools.cache
def _sizes(count: int) -> struct.Struct:
    return struct.Struct(f">{count}I")
