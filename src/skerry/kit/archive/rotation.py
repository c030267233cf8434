"""Which backups there are, what the next one is called, and which may go. Pure: names in, names out.

    WHAT-NAME-000012-20261121T152233Z.skb

The number tells the order, for a device's clock may be wrong; the time is for people.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

What = Literal["node", "hub"]

SUFFIX = ".skb"

_NAME = re.compile(r"(node|hub)-(.+)-(\d{6,})-\d{8}T\d{6}Z\.skb")
_NS = 1_000_000_000


class Held(msgspec.Struct, frozen=True):
    """A backup that is there under its name, so it was whole when it was made. `size` in bytes."""

    name: str
    number: int
    size: int


def held(what: What, owner: str, files: Iterable[tuple[str, int]]) -> list[Held]:
    """Those of `files` (name and size) that are backups of `owner`, the oldest first."""
    found = []
    for name, size in files:
        match = _NAME.fullmatch(name)
        if match is not None and (match[1], match[2]) == (what, owner):
            found.append(Held(name, int(match[3]), size))
    return sorted(found, key=lambda one: (one.number, one.name))


def next_name(what: What, owner: str, there: Sequence[Held], wall_ns: int) -> str:
    """What the next backup of `owner` is called."""
    number = max((one.number for one in there), default=0) + 1
    at = datetime.datetime.fromtimestamp(wall_ns // _NS, datetime.UTC)
    return f"{what}-{owner}-{number:06d}-{at:%Y%m%dT%H%M%SZ}{SUFFIX}"


def surplus(there: Sequence[Held], keep: int) -> list[Held]:
    """What may go once the newest one has been verified: all but the `keep` newest, of which there is always one."""
    ordered = sorted(there, key=lambda one: one.number)
    return ordered[: -max(keep, 1)]


def to_make_room(there: Sequence[Held], wanted: int) -> list[Held]:
    """What may go before a new one is written that needs `wanted` more bytes: the oldest, never the newest one.

    Less than was wanted when that is all: then there is no room, and what is there stays as it is.
    """
    chosen: list[Held] = []
    for one in sorted(there, key=lambda one: one.number)[:-1]:
        if wanted <= 0:
            break
        chosen.append(one)
        wanted -= one.size
    return chosen if wanted <= 0 else []


def is_due(last_ns: int | None, now_ns: int, interval: float) -> bool:
    """Whether another one is due; a last one from the future (a clock that was set back) does not put it off for ever."""
    if last_ns is None:
        return True
    return not 0 <= now_ns - last_ns < int(interval * _NS)
