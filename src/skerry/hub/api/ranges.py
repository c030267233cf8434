"""Which part of a file a request asks for (RFC 9110, one range of bytes). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


@dataclass(frozen=True)
class Part:
    """Bytes `start` to before `end`; `whole`: no range was asked, or none that is understood."""

    start: int
    end: int
    whole: bool


def part_of(size: int, *, etag: str, range_header: str | None, if_range: str | None) -> Part | None:
    """The part to send of a file of `size` bytes; None: the range lies behind its end (416)."""
    asked = _ONE_RANGE.fullmatch(range_header or "")
    if asked is None or if_range not in {None, etag}:
        return Part(0, size, whole=True)
    start = int(asked[1])
    end = min(int(asked[2]) + 1, size) if asked[2] else size
    return Part(start, end, whole=False) if start < end else None
