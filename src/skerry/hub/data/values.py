"""A record's value and meta in columns, and back: bool, int, float and str come out as they went in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from skerry.hub.store.bodies import TEXT, Bodies
from skerry.hub.store.readings import Reading
from skerry.hub.store.tables import (
    VALUE_BOOL,
    VALUE_FLOAT,
    VALUE_INT,
    VALUE_QUOTED,
    VALUE_SEALED,
    VALUE_TEXT,
)
from skerry.wire.records import Meta, Value

_meta = msgspec.json.Encoder(order="sorted")


class Stored(NamedTuple):
    """The columns `type`, `integer`, `double` and `text` of one record."""

    type: int
    integer: int | None
    double: float | None
    text: str | None


def store(value: Value) -> Stored:
    """The columns for `value`."""
    if isinstance(value, float):
        return Stored(VALUE_FLOAT, None, value, None)
    if isinstance(value, bool):
        return Stored(VALUE_BOOL, int(value), None, None)
    if isinstance(value, int):
        return Stored(VALUE_INT, value, None, None)
    if "\0" in value:
        return Stored(VALUE_QUOTED, None, None, msgspec.json.encode(value).decode())
    return Stored(VALUE_TEXT, None, None, value)


def restore(stored: Stored) -> Value:
    """The value that `store` was given."""
    if stored.integer is not None:
        return bool(stored.integer) if stored.type == VALUE_BOOL else stored.integer
    if stored.double is not None:
        return stored.double
    text = stored.text or ""
    return msgspec.json.decode(text, type=str) if stored.type == VALUE_QUOTED else text


def seal(bodies: Bodies, value: Value, *row: int) -> Stored:
    """As `store`, with texts sealed for the record `row` (series, time, session, counter); `store.readings` opens them."""
    if bodies.seals and isinstance(value, str):
        return Stored(VALUE_SEALED, None, None, bodies.seal_text(TEXT, value, *row))
    return store(value)


def restore_all(readings: Sequence[Reading]) -> list[Value]:
    """The values of records as the store reads them. Most are floats, and this runs 86,400 times for a day."""
    return [
        double if double is not None else restore(Stored(kind, integer, None, text))
        for _, _, kind, integer, double, text, _ in readings
    ]


def store_meta(meta: Meta) -> str:
    """`meta` as text; equal metas have equal texts."""
    return _meta.encode(meta).decode()


def restore_meta(text: str | None) -> Meta:
    """The meta that `store_meta` was given; nothing stored is no meta."""
    return {} if text is None else msgspec.json.decode(text, type=Meta)


def meta_hash(text: str, key: bytes) -> str:
    """What tells metas apart in a unique index, which could not hold the whole text; `key` is the store's index key."""
    return hashlib.blake2b(text.encode(), digest_size=16, key=key).hexdigest()
