"""JSON by msgspec, zstd around it where a body is large. Wrong input becomes one clear InvalidInput."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import zstandard

from skerry.kit.errors import InvalidInput, TooLarge
from skerry.kit.one_line import one_line

T = TypeVar("T")

MAX_BODY = 16 * 1024 * 1024
"""The largest uncompressed body that any side reads, in bytes."""

_LARGE = 64 * 1024
"""Bytes from which on a higher level costs more than the few bytes that it saves."""

_LEVEL, _LEVEL_OF_LARGE, _QUICK = 3, 1, -5
_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:  # noqa: ANN401 - any wire value
    """`value` as JSON."""
    return _encoder.encode(value)


def decode(data: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    """`data` as a validated `kind`. Raises InvalidInput naming `what` and the place of the first wrong field."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {what}: {one_line(str(error))}") from error
    except RecursionError as error:
        raise InvalidInput(f"cannot read {what}: it is nested too deeply") from error


def compress(data: bytes, *, quick: bool = False) -> bytes:
    """One zstd frame that carries its content size. `quick`: half larger for a third of the time, for what does not travel."""
    level = _LEVEL_OF_LARGE if len(data) >= _LARGE else _LEVEL
    return zstandard.ZstdCompressor(level=_QUICK if quick else level).compress(data)


def decompress(data: bytes, what: str, limit: int = MAX_BODY) -> bytes:
    """The content of one zstd frame. Raises InvalidInput when it is damaged or says no size, TooLarge above `limit`."""
    try:
        size = zstandard.frame_content_size(data)
        if size < 0:
            raise InvalidInput(f"cannot read {what}: its zstd frame does not say its size")
        if size > limit:
            raise TooLarge(
                f"cannot read {what}: it says to hold {size} bytes, at most {limit} are read"
            )
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
    except zstandard.ZstdError as error:
        raise InvalidInput(f"cannot read {what}: {error}") from error
