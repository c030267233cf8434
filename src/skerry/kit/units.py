"""Sizes and durations as people write them: «64MB», «1MiB», «500ms», «5m», «30d», bare seconds.

`parse_…` reads, `write_…` writes exactly what reads back as the same value, `format_…` rounds for people.
"""

from __future__ import annotations

import re
from decimal import Decimal

from skerry.kit.errors import InvalidInput

_SIZES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = re.compile(r"\s*(\d{1,30}(?:\.\d{1,30})?)\s*([A-Za-z]*)\s*", re.ASCII)
_WRITTEN_SIZES = ("TIB", "TB", "GIB", "GB", "MIB", "MB", "KIB", "KB")


def parse_size(text: str | int) -> int:
    """Bytes. MB is 10^6, MiB is 2^20; a bare number counts bytes. Raises InvalidInput."""
    match = _NUMBER.fullmatch(str(text))
    unit = match.group(2).upper() if match else ""
    if match is None or (unit and unit not in _SIZES):
        raise InvalidInput(
            f"«{text}» is not a size: write a number with B, KB, MB, GB, KiB, MiB or GiB"
        )
    return int(float(match.group(1)) * _SIZES[unit or "B"])


def parse_duration(text: str | float) -> float:
    """Seconds. A bare number counts seconds. Raises InvalidInput."""
    match = _NUMBER.fullmatch(str(text))
    unit = match.group(2) if match else ""
    if match is None or (unit and unit not in _DURATIONS):
        raise InvalidInput(f"«{text}» is not a duration: write a number with ms, s, m, h, d or w")
    return float(match.group(1)) * _DURATIONS[unit or "s"]


def write_size(size: int) -> str:
    """The shortest exact text: 64000000 is «64MB», 65536 is «64KiB», 4097 is «4097B»."""
    for unit in _WRITTEN_SIZES:
        count, rest = divmod(size, _SIZES[unit])
        if count and not rest:
            return f"{count}{unit.replace('I', 'i')}"
    return f"{size}B"


def write_duration(seconds: float) -> str:
    """The shortest exact text: 300 is «5m», 0.5 is «500ms», 90 is «90s»."""
    for unit in ("w", "d", "h", "m", "s", "ms"):
        count = round(seconds / _DURATIONS[unit])
        if count and count * _DURATIONS[unit] == seconds:
            return f"{count}{unit}"
    return f"{Decimal(repr(seconds)).normalize():f}s"


def format_size(size: float) -> str:
    """A size for people: three digits and a decimal unit."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def format_duration(seconds: float) -> str:
    """A duration for people, in its two largest units: «3d 4h», «1m 5s», «0.4s»."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    parts = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
