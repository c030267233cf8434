"""Which rows of a model a search finds: pure, for node and hub. See `wire.entities`.

Reading a body costs more than looking whether some bytes are in it. A body that fits a filter has the field's name and,
as bodies are written in one form, its value beside it: that is the filter's *sign*. Where bodies lie unsealed, the
database looks for the longest sign, so that only candidates leave it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.core.merging.bodies import Value, decoded, encoded, value_of
from skerry.kit.errors import InvalidInput
from skerry.wire.entities import MAX_FOUND, Filter, Find

_MISSING = object()

_EXACT = 2**53
"""Below it a double that is a whole number is written with the digits of that number."""


class Wanted(msgspec.Struct, frozen=True):
    """A filter, read once. Every body that fits has `sign` in it; empty: nothing is known."""

    path: list[str]
    value: Value
    or_absent: bool
    sign: bytes


def read_filters(asked: Find) -> list[Wanted]:
    """The filters of a search. Raises InvalidInput for one that asks for too much, or is not readable."""
    if asked.ids is not None and len(asked.ids) > MAX_FOUND:
        raise InvalidInput(
            f"cannot look for {len(asked.ids)} rows at once: at most {MAX_FOUND} are found"
        )
    if any("\0" in each for each in (*(asked.ids or ()), asked.prefix, asked.after)):
        raise InvalidInput("cannot look for rows: no id has the character U+0000 in it")
    return [_wanted(each) for each in asked.where]


def longest_sign(filters: Sequence[Wanted]) -> bytes:
    """What a database is to look for in bodies; empty: nothing."""
    return max((each.sign for each in filters), key=len, default=b"")


def fits(filters: Sequence[Wanted], body: bytes) -> bool:
    """Whether a body has all these values."""
    if not all(each.sign in body for each in filters):
        return False
    if not filters:
        return True
    value = decoded(body)
    return all(_has(value, each) for each in filters)


def _wanted(asked: Filter) -> Wanted:
    path = asked.path.split(".")
    value = value_of(bytes(asked.value), f"filter of «{asked.path}»")
    sign = b"" if asked.or_absent else encoded(path[-1]) + b":" + _beginning(value)
    return Wanted(path, value, asked.or_absent, sign)


def _beginning(value: Value) -> bytes:
    """What every way to write an equal value begins with."""
    if isinstance(value, list | dict):  # keys within may have another order
        return b""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return encoded(value)
    if isinstance(value, float) and not value.is_integer():
        return encoded(value)
    return b"%d" % value if 0 < abs(value) < _EXACT else b""  # 0 may be -0.0


def _has(body: Value, wanted: Wanted) -> bool:
    found: object = body
    for name in wanted.path:
        found = found.get(name, _MISSING) if isinstance(found, dict) else _MISSING
    if found is _MISSING:
        return wanted.or_absent
    return _number(found) == _number(wanted.value)


def _number(value: object) -> tuple[type, object]:
    """1 and 1.0 are one value, 1 and true are not."""
    kind = float if isinstance(value, float | int) and not isinstance(value, bool) else type(value)
    return kind, value
