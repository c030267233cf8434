"""Opening a node's store: one process per data directory, and a damaged database set aside, never overwritten.

In its place comes what `recover` finds, the newest good backup, or an empty one, with what is known besides
(`replacing`). A database that is gone although the node has run here is damage like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from skerry.kit.sqlite import SqliteWriter, read_migrations
from skerry.kit.sqlite_connections import Driver, Reader, classify, connect, stdlib_driver
from skerry.node.node_settings import STORE_FILE
from skerry.node.store.bodies import sealed_problem
from skerry.node.store.encryption import Encryption, mark, refuse_to_switch_off
from skerry.node.store.rebuilding import REBUILDING, Rebuilt, Recovered
from skerry.node.store.started import Started
from skerry.node.store.state import NodeStore

LOCK_FILE = "node.lock"
UNFINISHED = "restore.unfinished"
"""While a restore puts things in place."""

MIGRATIONS = Path(__file__).with_name("migrations")

Recover = Callable[[Path, Encryption], Recovered | None]
"""Puts the newest good backup at this path, where nothing is. None: there is none. Raises Refused, OSError, Transient."""


class OpenedStore(msgspec.Struct, frozen=True):
    """The database of a node. `rebuilt` says that a damaged one had to make way for it now.

    `encryption` has the ciphers for all that lies in the data directory.
    """

    path: Path
    writer: SqliteWriter
    reader: Reader
    state: NodeStore
    rebuilt: Rebuilt | None
    encryption: Encryption
    started: Started

    @property
    def cipher(self) -> Cipher:
        """That of the database."""
        return self.encryption.cipher("store")


@contextlib.asynccontextmanager
async def opened(  # noqa: PLR0913 - what a directory is opened with
    data_dir: Path,
    node_id: str,
    clock: Clock,
    disk: Disk,
    keys: Callable[[], Encryption] | None = None,
    *,
    database: Path | None = None,
    recover: Recover = lambda _path, _encryption: None,
    suspect: str = "",
    driver: Driver = stdlib_driver,
) -> AsyncIterator[OpenedStore]:
    """The store of the node in `data_dir`, made if there is none; `node_id` («» before enrolment) signs its edits.

    `database` is its file, if not `node.db` in there; `driver` opens it. `keys` finds the ciphers once the directory is
    ours; without it nothing in there may be sealed. `suspect` says why the file is not to be trusted, whatever a check
    finds. Raises Refused when another process has it, its keys are missing, a restore is not finished, the
    database's disk is not mounted or a damaged one cannot be rebuilt now, StateTooNew when it was written by a newer Skerry.
    """
    disk.make_directory("store.directory", data_dir)
    database = database or data_dir / STORE_FILE
    try:
        with locked(data_dir / LOCK_FILE), _locked_elsewhere(data_dir, database, disk):
            _refuse_unfinished(data_dir)
            encryption = await asyncio.to_thread(
                keys or partial(_plain, data_dir, database, driver)
            )
            started = Started(data_dir, disk, encryption.cipher("store"))
            file = _File(database, disk, clock, encryption, recover, driver)
            suspect = suspect or _missing(data_dir, database)
            async with _database(file, node_id, started, suspect) as store:
                yield store
    except Held as error:
        raise Refused(
            f"cannot open {data_dir}: another node process has it (process {error.holder}). "
            "Stop that one (skerry node stop), or use another --data-dir."
        ) from error


def _locked_elsewhere(
    data_dir: Path, database: Path, disk: Disk
) -> contextlib.AbstractContextManager[object]:
    """A database outside the data directory has a lock of its own: two data directories could name it.

    The lock's file stays there, so where both are gone, it is the disk that is: that is no database to be rebuilt.
    """
    if database.parent == data_dir:
        return contextlib.nullcontext()
    lock = database.with_name(f"{database.name}.lock")
    if _has_run(data_dir) and not database.exists() and not lock.exists():
        raise Refused(
            f"cannot find {database}, nor anything that this node has made beside it. Is its disk mounted? To have the "
            f"database made anew there, from a backup if there is one, create the empty file {lock}."
        )
    disk.make_directory("store.directory", database.parent)
    return locked(lock)


class _File(msgspec.Struct, frozen=True):
    """The database's file, and what opening it takes."""

    path: Path
    disk: Disk
    clock: Clock
    encryption: Encryption
    recover: Recover
    driver: Driver


@contextlib.asynccontextmanager
async def _database(
    file: _File, node_id: str, started: Started, suspect: str
) -> AsyncIterator[OpenedStore]:
    cipher = file.encryption.cipher("store")
    writer, rebuilt = await asyncio.to_thread(_start_writer, file, started, suspect)
    try:
        if cipher.seals:
            await writer.run(mark, label="store.mark")
        with contextlib.closing(writer.reader()) as reader:
            state = NodeStore(file.path, writer, file.clock, node_id, cipher)
            await state.open()
            try:
                yield OpenedStore(
                    file.path, writer, reader, state, rebuilt, file.encryption, started
                )
            finally:
                state.close()
    finally:
        writer.stop()


def _refuse_unfinished(data_dir: Path) -> None:
    if (data_dir / UNFINISHED).exists():
        raise Refused(
            f"cannot open {data_dir}: a restore was cut off while it put things in place. Nothing is lost: do it again "
            "(skerry node restore FILE --replace)."
        )


def _has_run(data_dir: Path) -> bool:
    return (data_dir / "records").is_dir()


def _missing(data_dir: Path, database: Path) -> str:
    """Why a database should be there and is not; SQLite would take an empty file for a new one."""
    has_run = _has_run(data_dir)
    if has_run and not database.exists():
        return f"cannot find {database}, though this node has run here before"
    if has_run and database.stat().st_size == 0:
        return f"cannot read {database}: it is empty, though this node has run here before"
    return ""


def _plain(data_dir: Path, database: Path, driver: Driver) -> Encryption:
    refuse_to_switch_off(data_dir, database, driver)
    return Encryption()


def _start_writer(
    file: _File, started: Started, suspect: str
) -> tuple[SqliteWriter, Rebuilt | None]:
    cipher = file.encryption.cipher("store")
    rebuilt = None
    if suspect or file.path.with_name(file.path.name + REBUILDING).exists():
        rebuilt = _rebuilt(file, started, suspect)
    try:
        return _started(file.path, file.disk, cipher, file.driver), rebuilt
    except Corrupt as error:
        if rebuilt is not None:
            raise
        rebuilt = _rebuilt(file, started, str(error))
    return _started(file.path, file.disk, cipher, file.driver), rebuilt


def _rebuilt(file: _File, started: Started, cause: str) -> Rebuilt | None:
    from skerry.node.store.replacing import Replacing, replaced  # noqa: PLC0415 - hardly ever needed

    job = Replacing(
        file.path,
        file.disk,
        file.clock,
        file.encryption.cipher("store"),
        read_migrations(MIGRATIONS),
        file.driver,
        lambda path: file.recover(path, file.encryption),
        started,
    )
    return replaced(job, cause)


def _started(path: Path, disk: Disk, cipher: Cipher, driver: Driver) -> SqliteWriter:
    if path.with_name(f"{path.name}-journal").exists():
        # The power failed while the file was made; a reader may not roll that back, and would be refused for ever.
        connect(path, driver=driver).close()
    problem = integrity_problem(path, driver=driver) if path.exists() else ""
    if problem:
        raise Corrupt(f"cannot trust {path}: {problem}")
    writer = SqliteWriter(path, read_migrations(MIGRATIONS), disk, driver)
    writer.start()
    if not cipher.seals:
        return writer
    try:
        with contextlib.closing(writer.reader()) as connection:
            problem = sealed_problem(connection, cipher)
    except SkerryError:
        writer.stop()
        raise
    if problem:
        writer.stop()
        raise Corrupt(f"cannot trust {path}: {problem}")
    return writer


def integrity_problem(
    path: Path, cipher: Cipher | None = None, *, driver: Driver = stdlib_driver
) -> str:
    """What SQLite's quick check says about the file, or the `cipher` about its bodies; empty when all is sound.

    Raises Transient when the file cannot be read now, as on a full disk, which says nothing about its content.
    """
    try:
        with contextlib.closing(connect(path, read_only=True, driver=driver)) as connection:
            rows = connection.execute("PRAGMA quick_check(3)")
            found = [line for row in rows for line in str(row[0]).splitlines()]
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
