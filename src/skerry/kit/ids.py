"""Identifiers: UUIDv7, whose text order is time order, so that B-tree inserts stay at one end.

Measured: 219 k inserts/s against 29 k with random UUIDv4 (design, mechanisms 4.1).
"""

from __future__ import annotations

import secrets
from typing import Protocol


class WallClock(Protocol):
    """A `kit.clock.Clock`, as far as an identifier needs it: nanoseconds since 1970."""

    def wall_ns(self) -> int: ...


def uuid7(clock: WallClock) -> str:
    """A new UUIDv7 (RFC 9562) in its 36-character text form."""
    milliseconds = clock.wall_ns() // 1_000_000 & (1 << 48) - 1
    random = secrets.randbits(74)
    value = (
        milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def random_token(size: int = 16) -> str:
    """`size` random bytes as lower-case hexadecimal text."""
    return secrets.token_hex(size)
