"""What follows when a database was lost: what is known besides goes into the one that took its place.

It comes from a backup or is empty. Assignments of what runs stand beside the database (`started`), files lie in their
directory; the rest the hub gives again. What happened is a fact in the store until it has been told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import read_queries
from skerry.node.store.bodies import STATE
from skerry.node.store.hub_orders import ASSIGNMENT
from skerry.node.store.last_good import is_order, put, read_order
from skerry.wire.codec import encode
from skerry.wire.workload import Assignment, LocalIntent

REBUILDING = ".rebuilding"
"""Suffix of the note beside a database that is being replaced."""

FACT = "rebuilt"
"""How the database came to be the one that it is, as JSON; kept for `doctor`."""

UNTOLD = "rebuilt_untold"
FILES_TO_TAKE_IN = "files_to_take_in"
"""Not empty: contents without a row are not leftovers."""

SQL = read_queries(Path(__file__).with_name("state.sql"))


class Recovered(msgspec.Struct, frozen=True):
    """A backup that takes the place of a damaged database, and of when it is (wall ns)."""

    backup: str
    made_at: int


class Rebuilt(msgspec.Struct, frozen=True):
    """A database was replaced: why, by which backup (empty: by none) and of when, and what was set aside. Wall ns."""

    cause: str
    backup: str
    made_at: int
    at: int
    aside: str = ""

    def __str__(self) -> str:
        """For people."""
        source = f"from {self.backup}" if self.backup else "without a backup"
        aside = f"; the damaged file is {self.aside}" if self.aside else ""
        return f"the database was rebuilt {source}: {self.cause}{aside}"


def note_rebuilt(
    db: sqlite3.Connection, cause: str, backup: str, made_at: int, clock: Clock, aside: str = ""
) -> Rebuilt:
    """Writes down what happened, in the caller's transaction."""
    rebuilt = Rebuilt(cause, backup, made_at, clock.wall_ns(), aside)
    for fact, value in (
        (FACT, encode(rebuilt).decode()),
        (UNTOLD, "1"),
        (FILES_TO_TAKE_IN, "1"),
    ):
        db.execute(SQL["set_fact"], (fact, value))
    return rebuilt


def take_in(db: sqlite3.Connection, started: Mapping[str, Assignment], cipher: Cipher) -> list[str]:
    """Makes what runs wanted again where the database does not know it or only an older one; returns the workloads.

    What the device wants by itself is no wish of the hub's: it says so again at its start.
    """
    taken = []
    for name, assignment in started.items():
        if assignment.local.recipe:
            continue
        held = db.execute(SQL["row"], (ASSIGNMENT, name)).fetchone()
        place = STATE.place(ASSIGNMENT, name)
        body = encode(msgspec.structs.replace(assignment, local=LocalIntent()))
        if held is not None and not held["deleted"]:
            told = cipher.open(held["body"], place)
            if not is_order(name, told):
                put(db, cipher, name, held["rev"], body)
                taken.append(name)
                continue
            if read_order(name, told).generation >= assignment.generation:
                continue
        rev = 0 if held is None else held["rev"]
        row = (ASSIGNMENT, name, rev, 0, "", 0, cipher.seal(body, place))
        db.execute(SQL["put_row"], row)
        taken.append(name)
    return taken
