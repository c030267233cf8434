"""Opening a node's store: one process per data directory, and a damaged database set aside, never overwritten."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Refused, SkerryError, Transient
from skerry.kit.file_lock import Held, locked
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, classify, connect, read_migrations
from skerry.node.node_settings import STORE_FILE
from skerry.node.store.bodies import sealed_problem
from skerry.node.store.encryption import Encryption, mark, refuse_to_switch_off
from skerry.node.store.state import NodeStore

log = logging.getLogger(__name__)

LOCK_FILE = "node.lock"
_MIGRATIONS = Path(__file__).with_name("migrations")


class OpenedStore(msgspec.Struct, frozen=True):
    """The database of a node. `set_aside` is the damaged file that had to make way, if any.

    `encryption` has the ciphers for all that lies in the data directory.
    """

    path: Path
    writer: SqliteWriter
    reader: sqlite3.Connection
    state: NodeStore
    set_aside: Path | None
    encryption: Encryption

    @property
    def cipher(self) -> Cipher:
        """That of the database."""
        return self.encryption.cipher("store")


@contextlib.asynccontextmanager
async def opened(
    data_dir: Path,
    node_id: str,
    clock: Clock,
    disk: Disk,
    keys: Callable[[], Encryption] | None = None,
    *,
    database: Path | None = None,
) -> AsyncIterator[OpenedStore]:
    """The store of the node in `data_dir`, made if there is none; `node_id` («» before enrolment) signs its edits.

    `database` is its file, if not `node.db` in there. `keys` finds the ciphers once the directory is ours; without it
    nothing in there may be sealed. Raises Refused when another process has it or its keys are missing, StateTooNew
    when it was written by a newer Skerry.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = database or data_dir / STORE_FILE
    try:
        with locked(data_dir / LOCK_FILE), _locked_elsewhere(data_dir, database):
            encryption = await asyncio.to_thread(keys or partial(_plain, data_dir, database))
            async with _database(database, node_id, clock, disk, encryption) as store:
                yield store
    except Held as error:
        raise Refused(
            f"cannot open {data_dir}: another node process has it (process {error.holder}). "
            "Stop that one (skerry node stop), or use another --data-dir."
        ) from error


def _locked_elsewhere(data_dir: Path, database: Path) -> contextlib.AbstractContextManager[object]:
    """A database outside the data directory has a lock of its own: two data directories could name it."""
    if database.parent == data_dir:
        return contextlib.nullcontext()
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return locked(database.with_name(f"{database.name}.lock"))


@contextlib.asynccontextmanager
async def _database(
    path: Path, node_id: str, clock: Clock, disk: Disk, encryption: Encryption
) -> AsyncIterator[OpenedStore]:
    cipher = encryption.cipher("store")
    writer, set_aside = _start_writer(path, clock, disk, cipher)
    try:
        if cipher.seals:
            await writer.run(mark, label="store.mark")
        with contextlib.closing(connect(path, read_only=True)) as reader:
            state = NodeStore(path, writer, clock, node_id, cipher)
            await state.open()
            try:
                yield OpenedStore(path, writer, reader, state, set_aside, encryption)
            finally:
                state.close()
    finally:
        writer.stop()


def _plain(data_dir: Path, database: Path) -> Encryption:
    refuse_to_switch_off(data_dir, database)
    return Encryption()


def _start_writer(
    path: Path, clock: Clock, disk: Disk, cipher: Cipher
) -> tuple[SqliteWriter, Path | None]:
    try:
        return _started(path, disk, cipher), None
    except Corrupt as error:
        aside = path.with_name(f"{path.name}.{clock.wall_ns()}.damaged")
        log.error("%s. It is set aside as %s; the node goes on with a new one", error, aside.name)  # noqa: TRY400
        for suffix in ("-wal", "-shm"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                disk.rename("store.set-aside", beside, aside.with_name(aside.name + suffix))
        disk.rename("store.set-aside", path, aside)
        return _started(path, disk, cipher), aside


def _started(path: Path, disk: Disk, cipher: Cipher) -> SqliteWriter:
    problem = integrity_problem(path) if path.exists() else ""
    if problem:
        raise Corrupt(f"cannot trust {path}: {problem}")
    writer = SqliteWriter(path, read_migrations(_MIGRATIONS), disk)
    writer.start()
    if not cipher.seals:
        return writer
    try:
        with contextlib.closing(connect(path, read_only=True)) as connection:
            problem = sealed_problem(connection, cipher)
    except SkerryError:
        writer.stop()
        raise
    if problem:
        writer.stop()
        raise Corrupt(f"cannot trust {path}: {problem}")
    return writer


def integrity_problem(path: Path, cipher: Cipher | None = None) -> str:
    """What SQLite's quick check says about the file, or the `cipher` about its bodies; empty when all is sound.

    Raises Transient when the file cannot be read now, as on a full disk, which says nothing about its content.
    """
    try:
        with contextlib.closing(connect(path, read_only=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
            if cipher is not None and found == ["ok"]:
                return sealed_problem(connection, cipher)
    except Corrupt as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        judged = classify(error, path)
        if isinstance(judged, Transient):
            raise judged from error
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)
