"""The bodies of node.db: which columns are sealed, where each belongs, and the search for those under an old key.

A test holds that every BLOB column of the schema stands here. `rotation` seals them again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import msgspec

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher, Place

MARK = 0x534B4531
"""SQLite's `application_id` of a database that holds sealed bodies: told without reading any."""

_LOOKED_AT = 500


class Body(msgspec.Struct, frozen=True):
    """A column of bodies, and the primary key of its table."""

    table: str
    column: str
    key: tuple[str, ...]

    def place(self, *row: str | int) -> Place:
        """Where the body of this row belongs."""
        return Place(self.table, self.column, tuple(map(str, row)))


STATE = Body("state", "body", ("entity", "id"))
FROZEN = Body("frozen", "body", ("n",))
ASSIGNMENT = Body("workload", "assignment", ("name",))
BESIDE = Body("workload", "beside", ("name",))
SCRIPTS = Body("worker", "scripts", ("workload",))
DETAIL = Body("worker_restart", "detail", ("id",))
SHARED = Body("shared_row", "body", ("entity", "id"))
SHARED_BASE = Body("shared_base", "body", ("entity", "id"))
SHARED_FRAME = Body("shared_frame", "body", ("lane", "n"))
CONFLICT_BASE = Body("shared_conflict", "base", ("entity", "id"))
CONFLICT_OURS = Body("shared_conflict", "ours", ("entity", "id"))
TWIN_ROW = Body("twin_file", "row", ("twin",))
TWIN_WRITTEN = Body("twin_file", "written", ("twin",))
TWIN_NEXT = Body("twin_file", "next", ("twin",))
BODIES = (
    STATE, FROZEN, ASSIGNMENT, BESIDE, SCRIPTS, DETAIL,
    SHARED, SHARED_BASE, SHARED_FRAME, CONFLICT_BASE, CONFLICT_OURS,
    TWIN_ROW, TWIN_WRITTEN, TWIN_NEXT,
)  # fmt: skip


def reseal_some(db: sqlite3.Connection, cipher: Cipher, limit: int) -> int:
    """Seals up to `limit` bodies that are not under the key in force, in the caller's transaction; returns how many.

    Raises Corrupt when one does not open.
    """
    done = 0
    for body in BODIES:
        matches = " AND ".join(f"{name} = ?" for name in body.key)
        update = f"UPDATE {body.table} SET {body.column} = ? WHERE {matches}"  # noqa: S608 - names of ours
        for row in _stale(db, body, cipher, limit - done):
            key = tuple(row)[:-1]
            plain = cipher.open(row[body.column], body.place(*key))
            db.execute(update, (cipher.seal(plain, body.place(*key)), *key))
            done += 1
    return done


def count_stale(db: sqlite3.Connection, cipher: Cipher) -> int:
    """How many bodies are not under the key in force."""
    return sum(1 for body in BODIES for _ in _stale(db, body, cipher, None))


def sealed_problem(db: sqlite3.Connection, cipher: Cipher) -> str:
    """What is wrong with the first body that does not open; empty when all do. Raises KeyMissing."""
    for body in BODIES:
        for row in _all(db, body):
            try:
                cipher.open(row[body.column], body.place(*tuple(row)[:-1]))
            except Corrupt as error:
                return str(error)
    return ""


def _stale(
    db: sqlite3.Connection, body: Body, cipher: Cipher, limit: int | None
) -> list[sqlite3.Row]:
    found: list[sqlite3.Row] = []
    for row in _all(db, body):
        if limit is not None and len(found) >= limit:
            break
        if not cipher.is_current(row[body.column]):
            found.append(row)
    return found


def _all(db: sqlite3.Connection, body: Body) -> Iterator[sqlite3.Row]:
    columns = ", ".join((*body.key, body.column))
    cursor = db.execute(
        f"SELECT {columns} FROM {body.table} WHERE {body.column} IS NOT NULL"  # noqa: S608
    )
    while rows := cursor.fetchmany(_LOOKED_AT):
        yield from rows
