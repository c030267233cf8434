"""Rows that the hub's answers have deleted here while it was asked for changes: what it is then told may be older.

A deleted row leaves nothing behind that says how new it was. So for as long as a question about an entity is on its way,
memory keeps the revisions of what answers to edits delete: `shared_answers` notes them, `shared_pulled` asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator


class Deletions:
    """By entity and id. Noted in the writer's thread, where they are asked for, too."""

    def __init__(self) -> None:
        self._revisions: dict[str, dict[str, int]] = {}

    @contextlib.contextmanager
    def noted(self, entities: Collection[str]) -> Iterator[None]:
        """While the hub is asked for changes of these entities, by one questioner each."""
        self._revisions.update({entity: {} for entity in entities})
        try:
            yield
        finally:
            for entity in entities:
                self._revisions.pop(entity, None)

    def note(self, entity: str, row_id: str, rev: int) -> None:
        """The hub's answer to an edit: the row was deleted by its revision `rev`."""
        found = self._revisions.get(entity)
        if found is not None:
            found[row_id] = rev

    def revision(self, entity: str, row_id: str) -> int:
        """By which the row was deleted; 0: it was not, as far as is known."""
        return self._revisions.get(entity, {}).get(row_id, 0)
