"""What a declaration of shared rows is with what settings say of the entity (`synced_words`). Pure.

`core.entity_settings` declares the settings. How an entity travels (`carried`) is each node's own affair; who wins a
conflict (`decided`) is one for the fleet: the hub's file holds, a node's file speaks for the programs of its node. docs/operate/links.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING

import msgspec

from skerry.core.synced_words import EntityWords

if TYPE_CHECKING:
    from skerry.wire.shared import Declaration


def carried(words: EntityWords, declaration: Declaration) -> Declaration:
    """The declaration with the priority and the size of batches that the words say."""
    said = {"priority": words.priority, "batch_size": words.batch_size}
    return _with(declaration, {name: value for name, value in said.items() if value is not None})


def decided(words: EntityWords, declaration: Declaration) -> Declaration:
    """The declaration with what the words say of conflicts. Rules of fields that they do not name stay."""
    said = {"strategy": words.conflict_resolution, "fallback": words.fallback}
    given: dict[str, object] = {name: value for name, value in said.items() if value is not None}
    if words.fields:
        given["fields"] = {**declaration.fields, **words.fields}
    if words.keys:
        given["keys"] = {**declaration.keys, **words.keys}
    return _with(declaration, given)


def names_in(words: EntityWords) -> list[str]:
    """The parts of a declaration that the words say: «strategy», «fields.steps.*.done»."""
    plain = {
        "strategy": words.conflict_resolution,
        "fallback": words.fallback,
        "priority": words.priority,
        "batch_size": words.batch_size,
    }
    named = [name for name, value in plain.items() if value is not None]
    return [
        *named,
        *(f"fields.{path}" for path in words.fields),
        *(f"keys.{path}" for path in words.keys),
    ]


def left_alone(names: Iterable[str], held: Declaration, asked: Declaration) -> Declaration:
    """What a program asks for, but these parts of it as they are `held`: they are not the program's to say."""
    told = set(names)
    plain = {name: getattr(held, name) for name in told if "." not in name}
    rules = _beside("fields", told, held.fields, asked.fields)
    keys = _beside("keys", told, held.keys, asked.keys)
    return _with(asked, {**plain, "fields": rules, "keys": keys} if told else {})


def overruled(words: EntityWords, said: Declaration) -> list[str]:
    """What the words say of conflicts and is declared otherwise: «conflict_resolution: merge, not central_wins»."""
    pairs: list[tuple[str, str | None, str | None]] = [
        ("conflict_resolution", words.conflict_resolution, said.strategy),
        ("fallback", words.fallback, said.fallback),
        *((f"fields «{path}»", rule, said.fields.get(path)) for path, rule in words.fields.items()),
        *((f"keys «{path}»", key, said.keys.get(path)) for path, key in words.keys.items()),
    ]
    return [
        f"{name}: {holds or 'none'}, not {word}"
        for name, word, holds in pairs
        if word is not None and word != holds
    ]


def _beside(
    section: str, told: Set[str], held: Mapping[str, str], asked: Mapping[str, str]
) -> dict[str, str]:
    mine = {path: rule for path, rule in asked.items() if f"{section}.{path}" not in told}
    return mine | {path: rule for path, rule in held.items() if f"{section}.{path}" in told}


def _with(declaration: Declaration, given: dict[str, object]) -> Declaration:
    if not given:
        return declaration
    told = msgspec.to_builtins(declaration) | given
    return msgspec.convert(told, type(declaration))
