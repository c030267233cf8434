"""What settings say of a synced entity by its name. Apart from `entity_words`, which a node loads with its first shared rows."""

from __future__ import annotations

import msgspec


class EntityWords(msgspec.Struct, frozen=True):
    """The settings `sync.entities.NAME.*` as they are named in the documents; None, or nothing: not said."""

    conflict_resolution: str | None = None
    fallback: str | None = None
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    priority: str | None = None
    batch_size: int | None = None


SAY_NOTHING = EntityWords()
