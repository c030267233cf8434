"""Retention rules for streams: how long, and how many bytes, records of a name are kept. Pure.

`retention.streams` in the settings of node and hub (`core.stream_settings`); the features of both ask `Rules`. The rule that says most about
a name holds: an exact name before a pattern, the pattern with more fixed characters before the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.kit.patterns import matches
from skerry.kit.units import write_duration, write_size


class Rule(msgspec.Struct, frozen=True):
    """Records whose name fits: `keep` in seconds, `bytes` of each stream; None: what holds without the rule."""

    name: str
    keep: float | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        """For people: «cam.*: 7d, 500MB»."""
        parts = [] if self.keep is None else [write_duration(self.keep)]
        parts += [] if self.bytes is None else [write_size(self.bytes)]
        return f"{self.name}: {', '.join(parts)}"

    @property
    def weight(self) -> tuple[bool, int]:
        """Says more than a rule with a lower one."""
        return "*" not in self.name, len(self.name.replace("*", ""))


class Rules(msgspec.Struct, frozen=True):
    """Rules, the one that says most first."""

    ordered: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Rules:
        """Of two that say equally much, the one that is written first holds."""
        return cls(tuple(sorted(rules, key=lambda rule: rule.weight, reverse=True)))

    def find(self, name: str) -> Rule | None:
        """The rule that holds for a name."""
        return next((rule for rule in self.ordered if matches(rule.name, name)), None)

    def __bool__(self) -> bool:
        return bool(self.ordered)


NO_RULES = Rules()
