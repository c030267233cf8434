"""Worker groups as the store has them: what is wanted of them on this device, and why they were restarted.

A restart by the policy is written together with the start that it is (`store.instances`); the others together with
the wish for them. `node.workloads.workers` decides.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

import msgspec

from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.node.store.bodies import DETAIL, SCRIPTS
from skerry.wire.codec import decode, encode
from skerry.wire.workload import LocalIntent

SQL = read_queries(Path(__file__).with_name("workers.sql"))

KEPT_RESTARTS = 200
"""Of each group."""

Cause = Literal["reload", "crash", "manual", "change"]


class Scripts(msgspec.Struct, frozen=True):
    """Which files, by name with the hash of their content, the models that they load, and what about them is unclear.

    `refused`: what they load by an id that cannot be one, and why.
    """

    files: dict[str, str] = {}
    models: list[str] = []
    doubts: list[str] = []
    refused: dict[str, str] = {}


class WorkerRow(msgspec.Struct, frozen=True):
    """One group. `stopped_at` is wall ns; None: nobody has stopped it by hand."""

    workload: str
    reloads: int = 0
    scripts: Scripts = Scripts()
    stopped_at: int | None = None
    stopped_by: str = ""

    @property
    def local(self) -> LocalIntent:
        """What this adds to the assignment."""
        return LocalIntent(self.reloads, self.stopped_at is not None, self.scripts.models)


class PastRestart(msgspec.Struct, frozen=True):
    """A restart and why. `at` is wall ns, `monotonic` is ns of `boot_id`; `detail` is for people."""

    at: int
    boot_id: str
    monotonic: int
    cause: Cause
    detail: str


class WorkerStore:
    """All writes go through the node's writer; `reader` is a connection for reads in the event loop's thread."""

    def __init__(self, writer: SqliteWriter, reader: sqlite3.Connection, cipher: Cipher) -> None:
        self._writer = writer
        self._read = WorkerReader(reader, cipher)
        self._cipher = cipher

    def row(self, workload: str) -> WorkerRow | None:
        """One group, or None."""
        return self._read.row(workload)

    def past(self, workload: str) -> list[PastRestart]:
        """Its restarts, newest first."""
        return self._read.past(workload)

    async def put(
        self, row: WorkerRow, restart: PastRestart | None, *, label: str, durable: bool = True
    ) -> None:
        """Writes a group and, in the same transaction, a restart that was asked for. Raises Transient."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["put"], self._columns(row))
            if restart is not None:
                note_restart(db, self._cipher, row.workload, restart)

        await self._writer.run(work, label=label, durable=durable)

    def _columns(self, row: WorkerRow) -> dict[str, object]:
        return {
            "workload": row.workload,
            "reloads": row.reloads,
            "stopped_at": row.stopped_at,
            "stopped_by": row.stopped_by,
            "scripts": self._cipher.seal(encode(row.scripts), SCRIPTS.place(row.workload)),
        }


class WorkerReader:
    """Reads on any connection, also one of another process."""

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher) -> None:
        self._connection = connection
        self._cipher = cipher

    def row(self, workload: str) -> WorkerRow | None:
        """One group, or None."""
        found = self._connection.execute(SQL["read"], (workload,)).fetchone()
        if found is None:
            return None
        body = self._cipher.open(found["scripts"], SCRIPTS.place(workload))
        scripts = decode(body, Scripts, f"scripts of «{workload}»")
        return WorkerRow(
            workload, found["reloads"], scripts, found["stopped_at"], found["stopped_by"]
        )

    def past(self, workload: str) -> list[PastRestart]:
        """Its restarts, newest first."""
        return [
            PastRestart(
                row["at"],
                row["boot_id"],
                row["monotonic"],
                msgspec.convert(row["cause"], Cause),
                self._cipher.open(row["detail"], DETAIL.place(row["id"])).decode(),
            )
            for row in self._connection.execute(SQL["past"], (workload,))
        ]


def note_restart(
    db: sqlite3.Connection, cipher: Cipher, workload: str, restart: PastRestart
) -> None:
    """Adds a restart within the caller's transaction and drops the oldest."""
    columns = msgspec.structs.asdict(restart)
    number = int(db.execute(SQL["next_restart"]).fetchone()[0])
    detail = cipher.seal(restart.detail.encode(), DETAIL.place(number))
    columns |= {"id": number, "workload": workload, "detail": detail}
    db.execute(SQL["add_restart"], columns)
    db.execute(SQL["drop_old_restarts"], (workload, KEPT_RESTARTS))


def forget_worker(db: sqlite3.Connection, workload: str) -> None:
    """Forgets a group with its history, within the caller's transaction."""
    db.execute(SQL["drop"], (workload,))
    db.execute(SQL["drop_restarts"], (workload,))
