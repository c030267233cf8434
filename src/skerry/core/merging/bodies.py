"""Bodies of shared rows: JSON objects whose numbers survive decoding, and their marks for digests.

A body keeps the order of its keys. Of a key that comes twice the last value counts. Whole numbers have any size up
to MAX_DIGITS; a number with a fraction or an exponent is a double. Values that are written differently (1, 1.0, true;
0.0, -0.0) are different ones; only the order of keys makes no difference.
"""

from __future__ import annotations

import hashlib
import math
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Body = dict[str, Value]

MAX_DEPTH = 64
"""So deep may objects and lists lie in each other; the body itself counts."""

MAX_DIGITS = 4300
"""The longest whole number."""

_MARK = 8
"""Bytes."""

_DIGITS_OF_A_DOUBLE = 17
"""So many digits tell every double from its neighbours; who writes more means more than a double holds."""

_LARGEST = sys.float_info.max


def canonical(body: bytes) -> bytes:
    """`body` in the one form in which it is stored and sent: without white space, keys in their order.

    Raises InvalidInput unless it is a JSON object, at most MAX_DEPTH deep, whose numbers can be kept.
    """
    return encoded(decoded(body))


def mark(row_id: str, rev: int, body: bytes) -> int:
    """What a live row adds to its entity's digest: 64 bits of BLAKE2b over id, revision and canonical body."""
    [found] = marks([row_id], [rev], [body])
    return found


def marks(ids: Iterable[str], revs: Iterable[int], bodies: Iterable[bytes]) -> Sequence[int]:
    """`mark` of each of many rows."""
    begun, digests = hashlib.blake2b(digest_size=_MARK), bytearray()
    copy = begun.copy
    for name, rev, body in zip(map(str.encode, ids), revs, bodies, strict=True):
        hashed = copy()
        hashed.update(b"%d:%d:%b%b" % (rev, len(name), name, body))
        digests += hashed.digest()
    return struct.unpack(f">{len(digests) // _MARK}Q", digests)


def decoded(body: bytes) -> Body:
    """The values of a body. Raises InvalidInput as `canonical` does."""
    value = value_of(body, "body")
    if type(value) is not dict:
        raise InvalidInput("cannot read body: it is not a JSON object")
    return value


def value_of(text: bytes, what: str, depth: int = MAX_DEPTH) -> Value:
    """The values of any JSON text under the rules of a body, `depth` deep; `what` names it in errors."""
    try:
        value: Value = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {what}: {one_line(str(error))}") from error
    except RecursionError:
        _too_deep(what)
    if text.count(b"{") + text.count(b"[") > depth:
        check_depth(value, what, depth)
    return value


def check_depth(value: Value, what: str, depth: int = MAX_DEPTH) -> None:
    """Raises InvalidInput when `value` is nested more than `depth` deep."""
    layer = [value]
    for _ in range(depth):
        inner: list[Value] = []
        for one in layer:
            if type(one) is dict:
                inner += one.values()
            elif type(one) is list:
                inner += one
        layer = inner
    if any(type(one) is dict or type(one) is list for one in layer):
        _too_deep(what)


def encoded(value: Value) -> bytes:
    """`value` as canonical JSON."""
    return _encoder.encode(value)


def token(value: Value) -> bytes:
    """Bytes that are equal for equal values, whatever the order of keys."""
    return _sorting_encoder.encode(value)


def same(one: object, other: object) -> bool:
    """Whether two values, or places without one, are equal but for the order of keys."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is float:
        return repr(one) == repr(other)
    return one == other


def _double(text: str) -> float:
    """The value of a number with a fraction or an exponent."""
    value = float(text)
    if len(text) <= _DIGITS_OF_A_DOUBLE and value and -_LARGEST <= value <= _LARGEST:
        return value
    mantissa = text.lower().partition("e")[0]
    digits = mantissa.replace(".", "").strip("-0")
    if math.isinf(value) or (digits and not value) or len(digits) > _DIGITS_OF_A_DOUBLE:
        raise InvalidInput(
            f"cannot keep the number {text:.40}: it is more than a double holds. Write it as a text"
        )
    return value


def _too_deep(what: str) -> NoReturn:
    raise InvalidInput(
        f"cannot read {what}: objects and lists lie more than {MAX_DEPTH} deep in it"
    )


_decoder = msgspec.json.Decoder(float_hook=_double)
_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")
