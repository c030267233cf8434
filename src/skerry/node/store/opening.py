"""Opening a node's store: one process per data directory, and a damaged database set aside, never overwritten."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused, Transient
from skerry.kit.file_lock import Held, locked
from skerry.kit.sqlite import SqliteWriter, classify, connect, read_migrations
from skerry.node.store.state import NodeStore

log = logging.getLogger(__name__)

STORE_FILE = "node.db"
LOCK_FILE = "node.lock"
_MIGRATIONS = Path(__file__).with_name("migrations")


class OpenedStore(msgspec.Struct, frozen=True):
    """The database of a node. `set_aside` is the damaged file that had to make way, if any."""

    path: Path
    writer: SqliteWriter
    reader: sqlite3.Connection
    state: NodeStore
    set_aside: Path | None


@contextlib.asynccontextmanager
async def opened(
    data_dir: Path, node_id: str, clock: Clock, disk: Disk
) -> AsyncIterator[OpenedStore]:
    """The store of the node in `data_dir`, made if there is none; `node_id` («» before enrolment) signs its edits.

    Raises Refused when another process has it, StateTooNew when it was written by a newer Skerry.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with locked(data_dir / LOCK_FILE):
            async with _database(data_dir / STORE_FILE, node_id, clock, disk) as store:
                yield store
    except Held as error:
        raise Refused(
            f"cannot open {data_dir}: another node process has it (process {error.holder}). "
            "Stop that one (skerry node stop), or use another --data-dir."
        ) from error


@contextlib.asynccontextmanager
async def _database(
    path: Path, node_id: str, clock: Clock, disk: Disk
) -> AsyncIterator[OpenedStore]:
    writer, set_aside = _start_writer(path, clock, disk)
    try:
        with contextlib.closing(connect(path, read_only=True)) as reader:
            state = NodeStore(path, writer, clock, node_id)
            await state.open()
            try:
                yield OpenedStore(path, writer, reader, state, set_aside)
            finally:
                state.close()
    finally:
        writer.stop()


def _start_writer(path: Path, clock: Clock, disk: Disk) -> tuple[SqliteWriter, Path | None]:
    try:
        return _started(path, disk), None
    except Corrupt as error:
        aside = path.with_name(f"{path.name}.{clock.wall_ns()}.damaged")
        log.error("%s. It is set aside as %s; the node goes on with a new one", error, aside.name)  # noqa: TRY400
        for suffix in ("-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                disk.rename("store.set-aside", beside, aside.with_name(aside.name + suffix))
        disk.rename("store.set-aside", path, aside)
        return _started(path, disk), aside


def _started(path: Path, disk: Disk) -> SqliteWriter:
    problem = integrity_problem(path) if path.exists() else ""
    if problem:
        raise Corrupt(f"cannot trust {path}: {problem}")
    writer = SqliteWriter(path, read_migrations(_MIGRATIONS), disk)
    writer.start()
    return writer


def integrity_problem(path: Path) -> str:
    """What SQLite's quick check says about the file; empty when it is sound.

    Raises Transient when the file cannot be read now, as on a full disk, which says nothing about its content.
    """
    try:
        with contextlib.closing(connect(path, read_only=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except Corrupt as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        judged = classify(error, path)
        if isinstance(judged, Transient):
            raise judged from error
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)
