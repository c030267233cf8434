"""Which rule holds at which place of a body: a declaration's dotted paths, followed step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from skerry.wire.shared import Declaration, FieldRule

_ANY = "*"
_Said = TypeVar("_Said")
_Patterns = tuple[tuple[tuple[str, ...], _Said], ...]


class Rules(msgspec.Struct, frozen=True):
    """What is declared for a place and all below it; an exact name goes before «*»."""

    rules: _Patterns[FieldRule]
    keys: _Patterns[str]

    @property
    def rule(self) -> FieldRule | None:
        """The rule of this place itself."""
        return next((rule for path, rule in self.rules if not path), None)

    @property
    def is_edge(self) -> bool:
        """Whether the edge's side wins here, unless a rule that is meant for this place fits."""
        return any(rule == "edge" for path, rule in self.rules if not path)

    @property
    def key(self) -> str:
        """The field by which the elements of the list at this place are one and the same."""
        return next((key for path, key in self.keys if not path), "id")

    @property
    def has_sums(self) -> bool:
        """Whether something is added up here or below."""
        return any(rule == "sum" for _, rule in self.rules)

    def below(self, name: str) -> Rules:
        """What holds for the field `name`; «*» stands for an element of a list. Only «edge» holds below its own place, too."""
        if not self.rules and not self.keys:
            return self
        rules = _below(self.rules, name)
        if self.is_edge:
            rules += (((), "edge"),)  # last: one that is meant for the place itself goes before it
        return Rules(rules, _below(self.keys, name))

    @property
    def element(self) -> Rules:
        """What holds for each element of the list at this place."""
        return self.below(_ANY)


def rules_of(declaration: Declaration) -> Rules:
    """The rules of a whole body."""
    return Rules(_patterns(declaration.fields), _patterns(declaration.keys))


def _patterns(said: Mapping[str, _Said]) -> _Patterns[_Said]:
    split = [(tuple(path.split(".")), value) for path, value in said.items()]
    return tuple(sorted(split, key=lambda pattern: [name == _ANY for name in pattern[0]]))


def _below(patterns: _Patterns[_Said], name: str) -> _Patterns[_Said]:
    return tuple((path[1:], value) for path, value in patterns if path and path[0] in {name, _ANY})
