"""Merging of lists: what the elements are known by, which stay, and in which order.

Elements stand for themselves here by a *name*: the value of their key field, or their JSON text in a set.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from skerry.core.merging.bodies import Value, token

Name = int | str | bytes


def by_key(elements: Sequence[Value], key: str) -> dict[Name, Value] | None:
    """The elements by their key field; None unless all are objects that have one of their own, a text or whole number."""
    found: dict[Name, Value] = {}
    for element in elements:
        name = element.get(key) if type(element) is dict else None
        if (type(name) is not int and type(name) is not str) or name in found:
            return None
        found[name] = element
    return found


def by_value(elements: Sequence[Value]) -> dict[Name, Value]:
    """The elements of a set, each once."""
    return {token(element): element for element in elements}


def kept(base: Collection[Name], one: Collection[Name], other: Collection[Name]) -> set[Name]:
    """An observed-remove set: what both have, and what either has added; what either has removed goes."""
    return {name for name in (*one, *other) if (name in one and name in other) or name not in base}


def moved(base: Collection[Name], now: Collection[Name]) -> bool:
    """Whether names that `base` and `now` share are in another order."""
    return [name for name in base if name in now] != [name for name in now if name in base]


def woven(
    base: Collection[Name], spine: Collection[Name], other: Collection[Name], stay: Collection[Name]
) -> list[Name]:
    """The names that `stay`, in the order of `spine`.

    What only `other` has follows what it follows there, after what `spine` has added at the same place.
    """
    following: dict[Name | None, list[Name]] = {None: []}
    last: Name | None = None
    for name in other:
        if name in spine:
            last = name
        elif name in stay:
            following.setdefault(last, []).append(name)
    order: list[Name] = []
    waiting = following[None]
    for name in spine:
        if name in base or name in other:
            order += waiting
            waiting = following.get(name, [])
        if name in stay:
            order.append(name)
    return order + waiting
