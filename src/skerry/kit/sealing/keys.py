"""Data keys and the decisions about them. Pure: no clock, no randomness, no files.

A *class* of data has one key in force, with which everything new is sealed, and perhaps retired ones, with which
something may still be sealed. `key_ring` keeps them, `sealed` uses them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

DataClass = Literal["store", "records", "files"]
CLASSES: tuple[DataClass, ...] = ("store", "records", "files")

Algorithm = Literal["AES-256-GCM", "ChaCha20-Poly1305"]
ALGORITHMS: tuple[Algorithm, ...] = ("AES-256-GCM", "ChaCha20-Poly1305")

MOST_MESSAGES = 2**32
"""That one key seals."""

RESERVED_AT_ONCE = 2**22
"""Messages that are counted before they are sealed, so that the count survives a crash."""

RESERVED_AT_START = 2**16
"""The same for a process that has sealed nothing yet: a node that is started over and over wears out no key."""

NS_A_SECOND = 1_000_000_000


class DataKey(msgspec.Struct, frozen=True):
    """One key. `made_at` is wall ns; up to `reserved` messages may have been sealed with it."""

    id: int
    of: DataClass
    algorithm: Algorithm
    made_at: int
    secret: bytes
    reserved: int = 0
    retired: bool = False

    def __repr__(self) -> str:
        return f"DataKey({self.id:08x} of {self.of})"


class Keys(msgspec.Struct, frozen=True):
    """All keys of a directory. `plain`: bodies from before encryption was switched on may still be there."""

    generation: int
    keys: list[DataKey]
    plain: bool

    def in_force(self, of: DataClass) -> DataKey:
        """The key that seals what is new."""
        return next(key for key in self.keys if key.of == of and not key.retired)

    def of_class(self, of: DataClass) -> Sequence[DataKey]:
        """All keys of a class, retired ones first."""
        return sorted((key for key in self.keys if key.of == of), key=lambda key: not key.retired)

    @property
    def retired(self) -> set[int]:
        """Ids of keys that are to be destroyed."""
        return {key.id for key in self.keys if key.retired}


class Rule(msgspec.Struct, frozen=True):
    """When a key has served: after `age` seconds or so many messages. New keys are made for `algorithm`."""

    age: float
    algorithm: Algorithm
    messages: int = MOST_MESSAGES


def due(keys: Keys, now_ns: int, rule: Rule) -> list[DataClass]:
    """The classes whose key has served: too old, used too often, or for another algorithm than is wanted now."""
    return [
        key.of
        for key in keys.keys
        if not key.retired
        and (
            now_ns - key.made_at >= rule.age * NS_A_SECOND
            or key.reserved >= rule.messages
            or key.algorithm != rule.algorithm
        )
    ]


def with_new(keys: Keys, fresh: Sequence[DataKey]) -> Keys:
    """`fresh` keys come into force, those of the same classes retire."""
    classes = {key.of for key in fresh}
    held = [
        msgspec.structs.replace(key, retired=True) if key.of in classes else key
        for key in keys.keys
    ]
    return _next(keys, [*held, *fresh])


def without(keys: Keys, ids: Collection[int]) -> Keys:
    """Those retired keys are gone; one that is in force stays."""
    return _next(keys, [key for key in keys.keys if not (key.retired and key.id in ids)])


def sealed_throughout(keys: Keys) -> Keys:
    """No plain body is left, and none is accepted from here on."""
    return msgspec.structs.replace(_next(keys, keys.keys), plain=False)


def reserving(keys: Keys, used: dict[int, int], more: int = RESERVED_AT_ONCE) -> Keys:
    """Reserves `more` messages for every key in force; `used` says how many each has sealed."""
    held = [
        key
        if key.retired
        else msgspec.structs.replace(
            key, reserved=max(key.reserved, used.get(key.id, key.reserved) + more)
        )
        for key in keys.keys
    ]
    return _next(keys, held)


def _next(keys: Keys, held: list[DataKey]) -> Keys:
    return msgspec.structs.replace(keys, generation=keys.generation + 1, keys=held)
