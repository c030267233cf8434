"""JSON objects that people and other programs write into files of the configuration directory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.kit.errors import InvalidInput

Object = Mapping[str, Any]


def object_of(text: bytes) -> Object:
    """The JSON object in a file. Raises InvalidInput."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("is no JSON") from None
    if not isinstance(found, dict):
        raise InvalidInput("is no JSON object")
    return found
