"""What a sample becomes: the value of a record, or a file. Pure.

An array's file is numpy's own (`.npy`), anything else is the payload as it is. The sample's header goes into the
record's meta.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from skerry.kit.errors import InvalidInput
from skerry.wire.data_samples import BYTES, JSON, NDARRAY, Sample, unpack
from skerry.wire.records import (
    INT64,
    MAX_META_KEYS,
    MAX_META_TEXT,
    MAX_NAME,
    MAX_TEXT,
    Meta,
    Value,
)

_SECOND = 1_000_000_000
_CLOCKS_AGREE = 3600.0
"""Seconds by which a sample's own time may differ from this device's, or it does not count."""

_OWN_META = 4
"""Keys that the recorder itself may add."""

_TYPES = {
    "bool": ("?", "|b1"), "int8": ("b", "|i1"), "uint8": ("B", "|u1"), "int16": ("h", "<i2"), "uint16": ("H", "<u2"),
    "int32": ("i", "<i4"), "uint32": ("I", "<u4"), "int64": ("q", "<i8"), "uint64": ("Q", "<u8"),
    "float16": ("e", "<f2"), "float32": ("f", "<f4"), "float64": ("d", "<f8"),
    "complex64": ("", "<c8"), "complex128": ("", "<c16"),
}  # fmt: skip
"""numpy's names as `struct` and as numpy's files have them; no struct has the last ones."""

_STORED = re.compile(r"[<>|](b1|[iu][1248]|f([248]|12|16)|c(8|16|24|32)|[SU][1-9][0-9]{0,8})")
"""What numpy calls as its files do: numbers of the other byte order, and texts."""

_LETTER = 4
"""Bytes of each of a text's."""

_NPY = b"\x93NUMPY\x01\x00"
_NPY_STEP = 64


class Taken(NamedTuple):
    """A sample, apart. `at` is in ns since 1970."""

    at: int
    meta: Meta
    kind: str
    shape: tuple[int, ...] | None
    dtype: str
    payload: bytes


def take(framed: bytes, received: int) -> Taken:
    """Of bytes of the bus; those that are no sample of the SDK's are a payload with a header of nothing."""
    try:
        sample = unpack(framed)
    except InvalidInput:
        return Taken(received, {}, "", None, "", framed)
    header = sample.header
    shape, dtype = _shape(header.get("shape")), str(header.get("dtype", ""))
    return Taken(
        _time(sample, received),
        _meta(header) | {"seq": sample.number},
        str(header.get("content_type", "")),
        shape,
        dtype if _is_array(shape, dtype, len(sample.payload)) else "",
        sample.payload,
    )


def as_value(taken: Taken) -> Value | None:
    """The value of its record; None: it is too large, or no text, and belongs into a file."""
    if taken.kind == NDARRAY:
        return _array_text(taken)
    if taken.kind == BYTES or len(taken.payload) > MAX_TEXT:
        return None
    try:
        text = taken.payload.decode()
        value = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, bool | str) or _is_number(value):
        return value if not isinstance(value, str) or _fits(value) else None
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if _fits(text) else None


def as_file(taken: Taken) -> bytes:
    """The bytes of its file."""
    if taken.kind == NDARRAY and taken.dtype and taken.shape is not None:
        return _npy_head(taken.dtype, taken.shape) + taken.payload
    return taken.payload


def file_kind(taken: Taken) -> str:
    """What is in the file, for its meta."""
    if taken.kind == NDARRAY:
        return "npy" if taken.dtype else "raw"
    if taken.kind == JSON:
        return "json"
    return "jpeg" if taken.payload[:3] == b"\xff\xd8\xff" else "raw"


def _array_text(taken: Taken) -> str | None:
    """Its numbers in a row; the shape is in the meta."""
    code, _ = _TYPES.get(taken.dtype, ("", ""))
    if not code or len(taken.payload) > MAX_TEXT:
        return None
    count = math.prod(taken.shape or ())
    numbers = struct.unpack(f"<{count}{code}", taken.payload)
    clean = [n if not isinstance(n, float) or math.isfinite(n) else None for n in numbers]
    text = json.dumps(clean, separators=(",", ":"))
    return text if _fits(text) else None


def _npy_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    said = f"{{'descr': '{_stored(dtype)}', 'fortran_order': False, 'shape': {shape!r}, }}"
    room = len(_NPY) + 2 + len(said) + 1
    padded = said + " " * (-room % _NPY_STEP) + "\n"
    return _NPY + len(padded).to_bytes(2, "little") + padded.encode()


def _is_array(shape: tuple[int, ...] | None, dtype: str, size: int) -> bool:
    """Whether payload and header agree."""
    stored = _stored(dtype)
    if shape is None or not stored:
        return False
    each = int(stored[2:]) * (_LETTER if stored[1] == "U" else 1)
    return math.prod(shape) * each == size


def _stored(dtype: str) -> str:
    """As numpy's files have it; empty: not known."""
    _, stored = _TYPES.get(dtype, ("", ""))
    return stored or (dtype if _STORED.fullmatch(dtype) else "")


def _shape(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 32:
        return None
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**32 for n in value):
        return None
    return tuple(value)


def _time(sample: Sample, received: int) -> int:
    """Its own, where the two clocks agree."""
    if abs(sample.at - received / _SECOND) <= _CLOCKS_AGREE:  # also false for NaN
        return int(sample.at * _SECOND)
    return received


def _meta(header: Mapping[str, Any]) -> Meta:
    """What of a header a record may carry: all but what is too long, or too much."""
    found: Meta = {}
    for name, value in header.items():
        if len(found) >= MAX_META_KEYS - _OWN_META:
            break
        plain = _plain(name, value)
        if plain is not None and 0 < len(name) <= MAX_NAME and _is_unicode(name):
            found[name] = plain
    return found


def _plain(name: str, value: object) -> Value | None:
    if isinstance(value, bool) or _is_number(value):
        return value  # type: ignore[return-value]
    if name == "shape" and isinstance(value, list):
        text = ",".join(map(str, value))[:MAX_META_TEXT]
    else:
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return text if _is_unicode(text) and len(text.encode()) <= MAX_META_TEXT else None


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return -INT64 <= value < INT64
    return isinstance(value, float) and math.isfinite(value)


def _fits(text: str) -> bool:
    return _is_unicode(text) and len(text.encode()) <= MAX_TEXT


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
