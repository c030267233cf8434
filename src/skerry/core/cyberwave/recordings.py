"""The setting `cyberwave.record`: of which names how much is kept, of topics at the broker and of keys of the data bus alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from skerry.core.names import pattern_fault
from skerry.kit.errors import InvalidInput

How = Literal["sample", "keep", "file", "off"]

_CLASSES: Mapping[str, How] = {"sample": "sample", "keep": "keep", "file": "file", "off": "off"}
_FIELDS = {"class", "rate"}
_MOST_PER_SECOND = 1000.0


class Recording(msgspec.Struct, frozen=True):
    """How messages are kept that are no events: how many per second, 0: all of them."""

    how: How
    per_second: float = 0.0


def recordings(tables: Mapping[str, Mapping[str, str]]) -> dict[str, Recording]:
    """By pattern, in the order of the setting: the first that fits a name holds. Raises InvalidInput."""
    return {pattern: _recording(pattern, fields) for pattern, fields in tables.items()}


def _recording(pattern: str, fields: Mapping[str, str]) -> Recording:
    if fault := pattern_fault(pattern):
        raise InvalidInput(fault)
    if unknown := sorted(fields.keys() - _FIELDS):
        raise InvalidInput(f"«{pattern}»: «{unknown[0]}» is neither «class» nor «rate»")
    how = _CLASSES.get(fields.get("class", ""))
    if how is None:
        raise InvalidInput(f"«{pattern}»: class is one of {', '.join(_CLASSES)}")
    rate = fields.get("rate", "0")
    try:
        per_second = float(rate)
    except ValueError:
        per_second = -1.0
    if not 0 <= per_second <= _MOST_PER_SECOND:
        raise InvalidInput(
            f"«{pattern}»: rate «{rate}» is no number of times a second, 0 (all) to 1000"
        )
    return Recording(how, per_second)
