"""The setting `retention.streams`, the same for node and hub: its declaration, and what `config check` says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from skerry.core.setting_values import Setting
from skerry.core.stream_rules import Rule
from skerry.kit.patterns import matches
from skerry.kit.units import write_duration

_PATTERN = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.\-/*]*")
"""As names of records (`wire.records`), with «*»."""


def stream_rules(general: str) -> Setting:
    """The setting. `general` names what holds where no rule fits."""
    return Setting(
        "retention.streams", "list", [],
        f"Rules for names, the one that says most holds: «{{name: cam.*, keep: 7d, bytes: 500MB}}», instead of {general}.",
        fields=(
            Setting("name", "text", None, "A name, «*» in it for anything.", required=True),
            Setting("keep", "duration", None, "How long its records are kept.", unit="seconds", low=60, high=3650 * 86_400.0),
            Setting("bytes", "size", None, "How much each stream, one name of one workload, may take; the oldest go.",
                    unit="bytes", low=10_000),
        ),
        check=rules_fault, notes=lambda value: rules_notes(value, general),
    )  # fmt: skip


def rules_fault(value: object) -> str | None:
    """What is wrong with rules as they stand in the settings; one without a name has been complained about."""
    seen: set[str] = set()
    entries = [
        entry for entry in msgspec.convert(value, list[dict[str, object]]) if "name" in entry
    ]
    for rule in msgspec.convert(entries, list[Rule]):
        if not _PATTERN.fullmatch(rule.name):
            return f"«{rule.name}» fits no name of a record: letters, digits and _ . - /, with «*» for anything"
        if rule.keep is None and rule.bytes is None:
            return f"the rule for «{rule.name}» says nothing: give it keep or bytes"
        if rule.name in seen:
            return f"there are two rules for «{rule.name}»: keep one"
        seen.add(rule.name)
    return None


def rules_notes(value: object, general: str) -> list[str]:
    """What `config check` says: what each rule holds instead of (`general`), and to which rules it gives way."""
    rules = msgspec.convert(value, list[Rule])
    return [note for rule in rules for note in _notes(rule, rules, general)]


def _notes(rule: Rule, rules: Sequence[Rule], general: str) -> Iterator[str]:
    if rule.keep is not None:
        yield f"«{rule.name}» for {write_duration(rule.keep)} instead of {general}"
    narrower = [
        f"«{other.name}»"
        for other in rules
        if other.weight > rule.weight and matches(rule.name, other.name.replace("*", "\0"))
    ]
    if narrower:
        yield f"«{rule.name}» gives way to {' and '.join(narrower)}"
