"""Three-way merge of bodies: each side's changes against the version that both began with, field by field.

What one side changed is taken. Where both changed a place differently, they are merged within it (objects by field,
lists by the elements' keys), or its rule combines them, or one of them wins: the newer under «lww», the one that is not
the hub's under «edge», else the side that the entity's fallback prefers. A rule that does not fit the values, as after a change of type, counts as none.
"""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple

import msgspec

from skerry.core.merging.amounts import extreme, is_number, total
from skerry.core.merging.bodies import Body, Value, same
from skerry.core.merging.lists import Name, by_key, by_value, kept, moved, woven
from skerry.core.merging.rules import Rules
from skerry.core.merging.texts import merge_lines

Side = Literal["held", "edit"]


class _Place(enum.Enum):
    ABSENT = enum.auto()
    UNFIT = enum.auto()


ABSENT = _Place.ABSENT
"""Stands for a value where there is none."""

UNFIT = _Place.UNFIT
"""Says that two values cannot be combined."""

Maybe = Value | _Place
_Lists = tuple[list[Value], list[Value], list[Value]]
_Named = tuple[dict[Name, Value], dict[Name, Value], dict[Name, Value]]


class Sides(msgspec.Struct, frozen=True):
    """Who wins a place that both changed: `newer` by the clock, `preferred` by the fallback (None: a person decides).

    `edge` is the one that is not the hub's; of two such, or two of the hub's, the newer.
    `based` says that the version is known that both began with; without one there is nothing to add up.
    """

    newer: Side
    edge: Side
    preferred: Side | None
    based: bool


class Merged(msgspec.Struct, frozen=True):
    """Both sides together; `contested` are the places where values met, `hidden` the sides of which one is not shown.

    `undecided`: a person has to choose, and `body` is of no use.
    """

    body: Body
    contested: tuple[str, ...]
    hidden: frozenset[Side]
    undecided: bool


def three_way(rules: Rules, sides: Sides, base: Body, held: Body, edit: Body) -> Merged:
    """The changes of `held` and `edit` against `base` in one body."""
    merge = _Merge(sides)
    body = merge.fields(rules, "", base, held, edit)
    return Merged(body, tuple(merge.contested), frozenset(merge.hidden), merge.undecided)


class _Three(NamedTuple):
    """One place in the three versions."""

    base: Maybe
    held: Maybe
    edit: Maybe


class _Merge:
    """One merge under way: what has met so far."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self.contested: list[str] = []
        self.hidden: set[Side] = set()
        self.undecided = False

    def fields(self, rules: Rules, path: str, base: Body, held: Body, edit: Body) -> Body:
        """Two objects: the keys of `held` in their order, then those that `edit` has added."""
        merged: Body = {}
        for key in held | edit:
            three = _Three(base.get(key, ABSENT), held.get(key, ABSENT), edit.get(key, ABSENT))
            value = _of_one_side(three)
            if value is UNFIT:
                value = self._met(rules.below(key), f"{path}.{key}" if path else key, three)
            if not isinstance(value, _Place):
                merged[key] = value
        return merged

    def _met(self, rules: Rules, path: str, three: _Three) -> Maybe:
        """The value of a place that both sides changed; alike, too, for two equal steps of a sum are two."""
        alike = same(three.held, three.edit)
        if alike and (rules.rule == "lww" or not rules.has_sums):
            return three.held
        if rules.rule == "lww":
            return self._won(path, three, self._sides.newer)
        combined = self._combined(rules, path, three)
        if combined is not UNFIT:
            return combined
        return three.held if alike else self._won(path, three, self._preferred(rules))

    def _won(self, path: str, three: _Three, side: Side | None) -> Maybe:
        return three.edit if self._winner(path, side) == "edit" else three.held

    def _winner(self, path: str, side: Side | None) -> Side:
        """Notes that one side wins the place; as long as a person has not decided it is `held`."""
        self.contested.append(path)
        self.undecided |= side is None
        self.hidden.add("held" if side == "edit" else "edit")
        return side or "held"

    def _preferred(self, rules: Rules) -> Side | None:
        return self._sides.edge if rules.is_edge else self._sides.preferred

    def _combined(self, rules: Rules, path: str, three: _Three) -> Maybe:
        base, held, edit = three
        if type(held) is dict and type(edit) is dict:
            return self.fields(rules, path, base if type(base) is dict else {}, held, edit)
        if type(held) is list and type(edit) is list:
            return self._list(rules, path, (base if type(base) is list else [], held, edit))
        if rules.rule == "text":
            return _text(three)
        return self._amount(rules, path, three)

    def _amount(self, rules: Rules, path: str, three: _Three) -> Maybe:
        base, held, edit = three
        if not is_number(held) or not is_number(edit):
            return UNFIT
        amount: Value = None
        match rules.rule:
            case "max" | "min":
                older, newer = (held, edit) if self._sides.newer == "edit" else (edit, held)
                amount = extreme(rules.rule, older, newer)
            case "sum" if self._sides.based:
                before = 0 if base is ABSENT else base
                amount = total(before, held, edit) if is_number(before) else None
            case _:
                pass
        if amount is None:
            return UNFIT
        self.contested.append(path)
        if not same(amount, held):
            self.hidden.add("held")
        if not same(amount, edit):
            self.hidden.add("edit")
        return amount

    def _list(self, rules: Rules, path: str, three: _Lists) -> Maybe:
        base, held, edit = (by_key(elements, rules.key) for elements in three)
        if base is not None and held is not None and edit is not None:
            return self._elements(rules, path, (base, held, edit))
        return self._set(three) if rules.rule == "union" else UNFIT

    def _elements(self, rules: Rules, path: str, three: _Named) -> list[Value]:
        """Two lists whose elements have keys: merged element by element."""
        base, held, edit = three
        values: dict[Name, Value] = {}
        for name in held | edit:
            places = _Three(base.get(name, ABSENT), held.get(name, ABSENT), edit.get(name, ABSENT))
            value = _of_one_side(places)
            if value is UNFIT:
                value = self._met(rules.element, f"{path}.{name!s}", places)
            if not isinstance(value, _Place):
                values[name] = value
        if moved(base, held) and moved(base, edit) and moved(held, edit):
            side = self._winner(path, self._preferred(rules))
        else:
            side = self._followed(three)
        spine, other = (held, edit) if side == "held" else (edit, held)
        return [values[name] for name in woven(base, spine, other, values)]

    def _set(self, three: _Lists) -> list[Value]:
        """Two lists that are sets: an element is known by its value, and one that comes twice is one."""
        base, held, edit = (by_value(elements) for elements in three)
        side = self._followed((base, held, edit))
        spine, other = (held, edit) if side == "held" else (edit, held)
        values = edit | held
        return [values[name] for name in woven(base, spine, other, kept(base, held, edit))]

    def _followed(self, three: _Named) -> Side:
        """Whose order goes: of the side that moved elements, else of the older, so that additions come as they were made."""
        base, held, edit = three
        if moved(base, held) != moved(base, edit):
            return "held" if moved(base, held) else "edit"
        return "held" if self._sides.newer == "edit" else "edit"


def _of_one_side(three: _Three) -> Maybe:
    """The value where not more than one side changed it; UNFIT where changes meet."""
    if same(three.base, three.edit):
        return three.held
    return three.edit if same(three.base, three.held) else UNFIT


def _text(three: _Three) -> Maybe:
    base, held, edit = three
    if type(base) is not str or type(held) is not str or type(edit) is not str:
        return UNFIT
    merged = merge_lines(base, held, edit)
    return UNFIT if merged is None else merged
