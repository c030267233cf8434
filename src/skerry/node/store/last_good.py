"""An assignment that cannot be acted on takes nothing away: the last version that could be is kept beside it.

It is a row of an entity of this device's own, which neither digests nor the outbox know. It goes with the assignment,
and when a version comes that can be acted on.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from skerry.core.order_rules import order_fault
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import read_queries
from skerry.node.store.bodies import STATE
from skerry.node.store.hub_orders import ASSIGNMENT
from skerry.wire.codec import decode
from skerry.wire.sync import StateRow
from skerry.wire.workload import Assignment, Generation

IN_FORCE = "assignment_in_force"

SQL = read_queries(Path(__file__).with_name("state.sql"))
_SHOWN = 64


class _Dated(msgspec.Struct, frozen=True):
    """What may be left of an assignment that cannot be read."""

    generation: Generation


def read_order(workload: str, body: bytes | msgspec.Raw) -> Assignment:
    """The assignment that came as row `workload`. Raises InvalidInput for one that cannot be acted on."""
    order = decode(body, Assignment, f"assignment «{one_line(workload[:_SHOWN])}»")
    if fault := order_fault(workload, order):
        raise InvalidInput(fault)
    return order


def is_order(workload: str, body: bytes | msgspec.Raw) -> bool:
    """Whether the body can be acted on as the assignment of this workload."""
    try:
        read_order(workload, body)
    except InvalidInput:
        return False
    return True


def version_of(body: bytes | msgspec.Raw, rev: int) -> str:
    """The version of an assignment, for people; by its revision where not even that can be read."""
    try:
        generation = decode(body, _Dated, "version").generation
    except InvalidInput:
        return f"of revision {rev}"
    return f"{generation.epoch}.{generation.n}"


def keep_last_good(db: sqlite3.Connection, cipher: Cipher, told: StateRow) -> None:
    """For the transaction that takes `told` over, before it does: keeps what it would take away, or lets that go."""
    if told.entity != ASSIGNMENT:
        return
    if told.deleted or is_order(told.id, told.body):
        forget(db, told.id)
        return
    held = db.execute(SQL["row"], (ASSIGNMENT, told.id)).fetchone()
    if held is None or held["deleted"]:
        return
    body = cipher.open(held["body"], STATE.place(ASSIGNMENT, told.id))
    if is_order(told.id, body):
        put(db, cipher, told.id, held["rev"], body)


def put(db: sqlite3.Connection, cipher: Cipher, workload: str, rev: int, body: bytes) -> None:
    """Keeps `body` as what is in force for the workload."""
    sealed = cipher.seal(body, STATE.place(IN_FORCE, workload))
    db.execute(SQL["put_row"], (IN_FORCE, workload, rev, 0, "", 0, sealed))


def forget(db: sqlite3.Connection, workload: str) -> None:
    """Nothing but the hub's newest version is in force."""
    db.execute(SQL["drop_row"], (IN_FORCE, workload))
