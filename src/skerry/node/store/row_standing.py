"""How far each shared row has come on its way to the hub, as programs are told it (`wire.entities.RowStatus`).

`entity_rows` asks for it with the rows; `shared_frames` and `shared_answers` write what it is read from.
"""

from __future__ import annotations

import sqlite3
from typing import Literal

from skerry.node.store.shared_table import SQL, Held

Status = Literal["pending", "syncing", "synced", "conflict", "failed"]
"""pending: waits for the hub; syncing: is on its way; conflict: an edit of it waits for a person; failed: the hub refuses it."""


class Standing:
    """What the sync knows of an entity's rows at one moment."""

    def __init__(self, db: sqlite3.Connection, entity: str) -> None:
        self._frames = [tuple(row) for row in db.execute(SQL["frames_of"], (entity,))]
        self._through = max((last for _, last, _ in self._frames), default=0)
        self._conflicts = {row["id"] for row in db.execute(SQL["conflicting"], (entity,))}

    def of(self, held: Held) -> Status:
        """That of a row."""
        if held.queued > self._through:
            return "pending"
        if held.queued:
            failed = any(bad and first <= held.queued <= last for first, last, bad in self._frames)
            return "failed" if failed else "syncing"
        return "conflict" if held.id in self._conflicts else "synced"
