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

_NAME = re.compile(r"(node|hub)-(.+)-(\d{6,})-(\d{8}T\d{6}Z)\.skb")
_NS = 1_000_000_000


class Held(msgspec.Struct, frozen=True):
    """A backup that is there under its name, so it was whole when it was made. `size` in bytes.

    `at` is when, as it stands in the name; `holds` what kind of backup it is: each kind is rotated by itself.
    """

    name: str
    number: int
    size: int
    at: str = ""
    holds: str = ""


def held(what: What, owner: str, files: Iterable[tuple[str, int]]) -> list[Held]:
    """Those of `files` (name and size) that are backups of `owner`, the oldest first."""
    found = []
    for name, size in files:
        match = _NAME.fullmatch(name)
        if match is not None and (match[1], match[2]) == (what, owner):
            found.append(Held(name, int(match[3]), size, match[4]))
    return sorted(found, key=lambda one: (one.number, one.name))


def next_name(what: What, owner: str, there: Sequence[Held], wall_ns: int) -> str:
    """What the next backup of `owner` is called."""
    number = max((one.number for one in there), default=0) + 1
    return f"{what}-{owner}-{number:06d}-{time_word(wall_ns)}{SUFFIX}"


def time_word(wall_ns: int) -> str:
    """A time as it stands in names: in their order, too."""
    at = datetime.datetime.fromtimestamp(wall_ns // _NS, datetime.UTC)
    return f"{at:%Y%m%dT%H%M%SZ}"


def surplus(there: Sequence[Held], keep: int) -> list[Held]:
    """What may go once the newest one has been verified: of each kind all but the `keep` newest, of which one is always."""
    return [one for kind in _kinds(there) for one in kind[: -max(keep, 1)]]


def from_before(there: Sequence[Held], keep: int, until: str) -> list[Held]:
    """Those that were there at `until` (as in names), when what is backed up became another: up to `keep` of each kind.

    They are the oldest, so a clock that was wrong since adds none to them for ever.
    """
    known = [one for one in there if one.at <= until]
    return [one for kind in _kinds(known) for one in kind[: max(keep, 1)]]


def to_make_room(there: Sequence[Held], wanted: int) -> list[Held]:
    """What may go before a new one is written that needs `wanted` more bytes: the oldest, never the newest of a kind.

    Less than was wanted when that is all: then there is no room, and what is there stays as it is.
    """
    chosen: list[Held] = []
    older = [one for kind in _kinds(there) for one in kind[:-1]]
    for one in sorted(older, key=lambda one: one.number):
        if wanted <= 0:
            break
        chosen.append(one)
        wanted -= one.size
    return chosen if wanted <= 0 else []


def _kinds(there: Sequence[Held]) -> list[list[Held]]:
    """By what they hold, each kind in its order."""
    ordered = sorted(there, key=lambda one: one.number)
    kinds = sorted({one.holds for one in ordered})
    return [[one for one in ordered if one.holds == kind] for kind in kinds]


def is_due(last_ns: int | None, now_ns: int, interval: float) -> bool:
    """Whether another one is due; a last one from the future (a clock that was set back) does not put it off for ever."""
    if last_ns is None:
        return True
    return not 0 <= now_ns - last_ns < int(interval * _NS)
