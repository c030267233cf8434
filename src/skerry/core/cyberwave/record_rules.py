"""`cyberwave.record`: what people write about the channels of the data bus that are to be kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

from skerry.core.names import pattern_fault
from skerry.kit.errors import InvalidInput
from skerry.kit.units import parse_duration, parse_size
from skerry.wire.data_bus import ChannelRule, Kept, Ring

ON = "cyberwave/twin/*/event"
"""Names of the records that drivers' and workers' events become."""

FILE_RATE = 1.0
"""Files a second of a channel, where nothing is said."""

_OPTIONS = ("class", "rate", "on", "seconds", "size")
_CLASSES = get_args(Kept)


class Recording(NamedTuple):
    """What is kept, and how large the ring is."""

    rules: list[ChannelRule]
    ring: Ring


def read_rules(record: Mapping[str, Mapping[str, str]]) -> Recording:
    """The rules in their order. The ring is as large as the most generous of its rules. Raises InvalidInput."""
    rules: list[ChannelRule] = []
    rings: list[Ring] = []
    for keys, options in record.items():
        _check(keys, options)
        for kept in options["class"].replace(",", " ").split():
            rules.append(_rule(keys, kept, options))
            if kept == "ring":
                rings.append(_ring(keys, options))
    ring = Ring(max(r.seconds for r in rings), max(r.size for r in rings)) if rings else Ring()
    return Recording(rules, ring)


def _check(keys: str, options: Mapping[str, str]) -> None:
    if fault := pattern_fault(keys):
        raise InvalidInput(f"cyberwave.record: {fault}")
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown or not options.get("class", "").strip(", "):
        wrong = f"«{unknown[0]}» is no option" if unknown else "it has no class"
        raise InvalidInput(
            f"cyberwave.record «{keys}»: {wrong}: write class, and, where wanted, {', '.join(_OPTIONS[1:])}"
        )


def _rule(keys: str, kept: str, options: Mapping[str, str]) -> ChannelRule:
    if kept not in _CLASSES:
        raise InvalidInput(
            f"cyberwave.record «{keys}»: «{kept}» is no class: write one of {', '.join(_CLASSES)}"
        )
    rate = _rate(keys, options["rate"]) if "rate" in options else 0.0
    if kept == "file" and not rate:
        rate = FILE_RATE
    on = options.get("on", ON) if kept == "ring" else ""
    if on and (fault := pattern_fault(on)):
        raise InvalidInput(f"cyberwave.record «{keys}»: on: {fault}")
    return ChannelRule(keys, next(word for word in _CLASSES if word == kept), rate, on)


def _rate(keys: str, text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 10_000:
        raise InvalidInput(
            f"cyberwave.record «{keys}»: rate «{text}» is no number of samples a second between 0 (all of them) and 10000"
        )
    return rate


def _ring(keys: str, options: Mapping[str, str]) -> Ring:
    usual = Ring()
    try:
        seconds = parse_duration(options["seconds"]) if "seconds" in options else usual.seconds
        size = parse_size(options["size"]) if "size" in options else usual.size
    except InvalidInput as error:
        raise InvalidInput(f"cyberwave.record «{keys}»: {error}") from error
    if not 1 <= seconds <= 86_400 or size < 1_000_000:
        raise InvalidInput(
            f"cyberwave.record «{keys}»: a ring has between 1 second and a day, and at least 1MB"
        )
    return Ring(seconds, size)
