"""Key expressions of samples: `cw/<twin>/data/<channel>[/<sensor>]`, also as names of directories."""

from __future__ import annotations

import re
from typing import NamedTuple

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SEGMENTS = r"[a-z][a-z0-9_]*(?:/[a-z][a-z0-9_]*)*"
_KEY = re.compile(rf"cw/({_UUID})/data/({_SEGMENTS})", re.ASCII)
_MAX_KEY = 255
_SEPARATOR = re.compile("__(?=[a-z*])")
"""Of a channel «a_» and its sensor «b» the SDK makes «a___b»: it is the last two that separate."""


class Key(NamedTuple):
    """A channel of a twin; a sensor's is «channel/sensor»."""

    twin: str
    channel: str

    def __str__(self) -> str:
        return f"cw/{self.twin}/data/{self.channel}"


def key_of(expression: str) -> Key | None:
    """The channel that an expression names; None for one with a wildcard, and for all that no SDK would publish at."""
    found = _KEY.fullmatch(expression) if len(expression) <= _MAX_KEY else None
    return Key(found[1], found[2]) if found else None


def expression_of(directory: str) -> str:
    """The key expression whose samples, or whose subscriber, the filesystem backend has in a directory of this name."""
    *start, channel = directory.split("__", 3)
    return "/".join((*start, _SEPARATOR.sub("/", channel)))


def includes(expression: str, key: str) -> bool:
    """Whether a key fits an expression, in which «*» is any one part and «**» any run of them, also of none."""
    return _fits(expression.split("/"), key.split("/"))


def _fits(wanted: list[str], parts: list[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        rest = wanted[1:]
        return rest == [] or any(_fits(rest, parts[n:]) for n in range(len(parts) + 1))
    return bool(parts) and wanted[0] in ("*", parts[0]) and _fits(wanted[1:], parts[1:])
