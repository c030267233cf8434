"""A sample on the data bus, byte for byte as Cyberwave's SDK frames it, for Zenoh and for files alike.

    u32 length of the header | f64 seconds since 1970 | i64 number | JSON header | payload          (little-endian)

The length counts time, number and JSON, which is as Python's `json` writes it: in ASCII, and NaN is one of its words.
Programs that do not use the SDK send JSON or a JPEG without any of this.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.kit.errors import InvalidInput

MAX_HEADER = 64 * 1024

NDARRAY = "numpy/ndarray"
JSON = "application/json"
BYTES = "application/octet-stream"

_LENGTH = struct.Struct("<I")
_FIXED = struct.Struct("<dq")


class Sample(msgspec.Struct, frozen=True):
    """One sample. `at` is seconds since 1970, `number` counts from 0 for each channel of a process.

    `header` has at least `content_type`; of an array also `shape` and `dtype` (numpy's name), and what the program added.
    """

    header: Mapping[str, Any]
    at: float
    number: int
    payload: bytes


def pack(sample: Sample) -> bytes:
    """The sample's bytes. Raises InvalidInput for a header above 64 KiB."""
    # The SDK's own encoder: msgspec writes letters and large numbers otherwise.
    header = json.dumps(dict(sample.header), separators=(",", ":")).encode()
    length = _FIXED.size + len(header)
    if length > MAX_HEADER:
        raise InvalidInput(f"cannot frame a sample: its header has {length} bytes of {MAX_HEADER}")
    fixed = _FIXED.pack(sample.at, sample.number)
    return b"".join((_LENGTH.pack(length), fixed, header, sample.payload))


def unpack(framed: bytes) -> Sample:
    """The sample in these bytes. Raises InvalidInput for anything else, also for bare JSON or JPEG."""
    if len(framed) < _LENGTH.size + _FIXED.size:
        raise InvalidInput(f"no framed sample: {len(framed)} bytes are too few")
    (length,) = _LENGTH.unpack_from(framed)
    end = _LENGTH.size + length
    if not _FIXED.size <= length <= MAX_HEADER or end > len(framed):
        raise InvalidInput(f"no framed sample: a header of {length} bytes in {len(framed)}")
    at, number = _FIXED.unpack_from(framed, _LENGTH.size)
    try:
        header = json.loads(framed[_LENGTH.size + _FIXED.size : end])
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"no framed sample: its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise InvalidInput("no framed sample: its header is no JSON object")
    return Sample(header, at, number, framed[end:])
