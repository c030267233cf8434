"""The setting `cyberwave.record`: of which names how much is kept, of topics at the broker and of keys of the data bus alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from skerry.core.names import pattern_fault
from skerry.kit.errors import InvalidInput
from skerry.wire.data_bus import ONE_FILE, ChannelRule, Kept

How = Literal["sample", "keep", "file", "off"]
Tables = Mapping[str, Mapping[str, str]]

_TOPICS: Mapping[str, How] = {"sample": "sample", "keep": "keep", "file": "file", "off": "off"}
_KEYS: Mapping[str, Kept] = {**_TOPICS, "ring": "ring"}
_CLASSES = ("sample", "keep", "file", "ring", "off")
_FIELDS = ("class", "rate", "on")
_OF_KEYS = ("cw/", "*")
_MOST_PER_SECOND = 1000.0


class Recording(msgspec.Struct, frozen=True):
    """How messages are kept that are no events: how many per second, 0: all of them."""

    how: How
    per_second: float = 0.0


def recordings(tables: Tables) -> dict[str, Recording]:
    """What holds for topics, by pattern, in the order of the setting: the first that fits a name holds. Raises InvalidInput."""
    return {
        pattern: Recording(_TOPICS[fields["class"]], _rate(pattern, fields))
        for pattern, fields in _checked(tables).items()
        if fields["class"] in _TOPICS
    }


def channel_rules(tables: Tables) -> list[ChannelRule]:
    """What holds for the data bus: of patterns that fit its keys, «cw/TWIN/data/CHANNEL». Raises InvalidInput."""
    return [
        ChannelRule(
            pattern,
            _KEYS[fields["class"]],
            ONE_FILE
            if fields["class"] == "file" and "rate" not in fields
            else _rate(pattern, fields),
            fields.get("on", ""),
        )
        for pattern, fields in _checked(tables).items()
        if pattern.startswith(_OF_KEYS)
    ]


def _checked(tables: Tables) -> Tables:
    for pattern, fields in tables.items():
        if fault := pattern_fault(pattern):
            raise InvalidInput(fault)
        if unknown := sorted(fields.keys() - set(_FIELDS)):
            raise InvalidInput(f"«{pattern}»: «{unknown[0]}» is none of {', '.join(_FIELDS)}")
        if fields.get("class", "") not in _CLASSES:
            raise InvalidInput(f"«{pattern}»: class is one of {', '.join(_CLASSES)}")
        is_ring = fields["class"] == "ring"
        if is_ring and not (fields.get("on") and pattern.startswith(_OF_KEYS)):
            raise InvalidInput(
                f"«{pattern}»: a ring is of keys of the data bus, cw/TWIN/data/CHANNEL, and «on» names the events that write it out"
            )
        if not is_ring and "on" in fields:
            raise InvalidInput(f"«{pattern}»: «on» belongs to class ring")
        _ = _rate(pattern, fields)
    return tables


def _rate(pattern: str, fields: Mapping[str, str]) -> float:
    """Times a second; 0: all."""
    text = fields.get("rate", "0")
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= _MOST_PER_SECOND:
        raise InvalidInput(
            f"«{pattern}»: rate «{text}» is no number of times a second, 0 (all) to {_MOST_PER_SECOND:g}"
        )
    return rate
