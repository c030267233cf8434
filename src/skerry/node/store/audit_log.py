"""The node's audit log: entries at the end of one chain, in `node.db`. What an entry says: `core.audit_entries`.

Its entries are not sealed, like names and numbers, so that they can be checked without any key. The table refuses
to change or remove a row. See docs/operate/audit.md and ADR 30.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from skerry.core.audit_chain import GENESIS, entry_hash
from skerry.core.audit_entries import Deed, entry_of
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.wire.audit import AuditEntry, AuditHead, AuditPage, AuditRow, HubHead

SQL = read_queries(Path(__file__).with_name("audit_log.sql"))

T = TypeVar("T")

KEPT_HEADS = 32
"""Of the hub's log: one a minute while people work there, so the oldest is some hours to months old."""

AGENT_STARTS, AGENT_STOPS = "agent_start", "agent_stop"


class AuditLog:
    """The log of one store. `grown` rings after each transaction of `add` and `write`."""

    def __init__(self, writer: SqliteWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self.grown = Bell()

    async def add(self, deed: Deed) -> int:
        """Puts an entry at the end; returns its number once it is durable. Raises Transient."""
        at = self._clock.wall_ns()
        return await self.write(lambda db: enter(db, deed, at).seq)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A transaction that makes entries; durable when it returns. Raises Transient."""
        result = await self._writer.run(work, label="audit")
        self.grown.ring()
        return result

    async def note(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A transaction beside the entries. Raises Transient."""
        return await self._writer.run(work, label="audit.note", durable=False)


def enter(db: sqlite3.Connection, deed: Deed, at: int) -> AuditHead:
    """Puts an entry at the end, in the caller's transaction; returns the new head."""
    entry = entry_of(deed, head_of(db), at)
    head = AuditHead(entry.seq, entry_hash(entry))
    db.execute(SQL["add"], msgspec.structs.asdict(entry) | {"hash": head.hash})
    return head


def head_of(db: sqlite3.Connection) -> AuditHead:
    """The last entry's number and hash."""
    row = db.execute(SQL["head"]).fetchone()
    return GENESIS if row is None else AuditHead(row["seq"], row["hash"])


def page_of(db: sqlite3.Connection, owner: str, after: int, limit: int) -> AuditPage:
    """Up to `limit` entries after number `after`, as they are stored; `owner` says whose log it is."""
    head = head_of(db)
    rows = db.execute(SQL["after"], (after, limit)).fetchall()
    return AuditPage(owner, head, [_row(row) for row in rows])


def runs_on(db: sqlite3.Connection) -> bool:
    """Whether the agent before this one has not said that it ends: it was killed, or the power failed."""
    row = db.execute(SQL["last_run"]).fetchone()
    return row is not None and row["action"] == AGENT_STARTS


def hub_heads(db: sqlite3.Connection) -> list[HubHead]:
    """The heads of the hub's log that are kept, the oldest first."""
    return [HubHead(*row[:4]) for row in db.execute(SQL["hub_heads"]).fetchall()]


def keep_hub_head(db: sqlite3.Connection, head: HubHead, at: int) -> None:
    """Keeps what the hub told of its log. Of many, the oldest goes; one that stays the same is one."""
    db.execute(SQL["put_hub_head"], (*msgspec.structs.astuple(head), at))
    for old in hub_heads(db)[:-KEPT_HEADS]:
        db.execute(SQL["drop_hub_head"], msgspec.structs.astuple(old))


def _row(row: sqlite3.Row) -> AuditRow:
    entry = AuditEntry(**{name: row[name] for name in AuditEntry.__struct_fields__})
    return AuditRow(entry, row["hash"])
