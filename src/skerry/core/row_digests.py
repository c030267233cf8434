"""Digests of an entity's shared rows: 256 sums of marks, kept with each change and equal at both ends (ADR 18).

A row's bucket follows from its id alone. Deleted rows have no mark and add nothing. `core.merging.mark` makes marks.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence

from skerry.wire.shared import BUCKETS

_SUMS = struct.Struct(f"<{BUCKETS}Q")
_MASK = 2**64 - 1

EMPTY = bytes(_SUMS.size)
"""The packed sums of no rows."""


def bucket_of(row_id: str) -> int:
    """0 … BUCKETS - 1."""
    return zlib.crc32(row_id.encode()) % BUCKETS


def buckets_of(ids: Iterable[str]) -> list[int]:
    """As `bucket_of`, for many."""
    crc32 = zlib.crc32
    return [crc32(row_id.encode()) % BUCKETS for row_id in ids]


def replaced(total: int, old: int, new: int) -> int:
    """A bucket's sum after a row's mark has changed; 0 stands for a row that is not there or deleted."""
    return (total - old + new) & _MASK


def summed(
    sums: Sequence[int], come: Iterable[tuple[str, int]], gone: Iterable[tuple[str, int]]
) -> list[int]:
    """`sums` after marks have come and gone, each with its row's id: as `replaced`, for many."""
    now, crc32 = list(sums), zlib.crc32
    for row_id, mark in come:
        now[crc32(row_id.encode()) % BUCKETS] += mark
    for row_id, mark in gone:
        now[crc32(row_id.encode()) % BUCKETS] -= mark
    return [total & _MASK for total in now]


def pack(sums: Sequence[int]) -> bytes:
    """The sums as they are stored and hashed."""
    return _SUMS.pack(*sums)


def unpack(packed: bytes) -> list[int]:
    """The inverse of `pack`."""
    return list(_SUMS.unpack(packed))


def digest(sums: Sequence[int]) -> str:
    """32 hexadecimal digits over all buckets."""
    return hashlib.blake2b(pack(sums), digest_size=16).hexdigest()
