"""SQLite for one process: a writer thread with group commit, reader connections, migrations, named queries.

Every write goes through `SqliteWriter`; jobs of one group share a transaction, each of several in its own
savepoint, so that a failing job takes nothing else with it. A group is committed with
`synchronous=FULL` when one of its jobs asks for it (accepted records, commands, transitions of
workloads) and with NORMAL otherwise (statuses that can be derived again).

A full disk must not stop what is kept here, so a database holds `ROOM` bytes for itself: free pages inside,
and a WAL of that size that is written over and over and outlives the writer.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from skerry.kit.commit import CommitThread
from skerry.kit.errors import Corrupt, Refused, SkerryError, Transient
from skerry.kit.sqlite_connections import (
    ROOM,
    Driver,
    Reader,
    classify,
    connect,
    connect_reader,
    stdlib_driver,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from skerry.kit.disk import Disk

_GIVEN_BACK = 256
"""Pages of 4 KiB that are given back to the disk in one step."""

_REWRITTEN = 64 * 1024 * 1024
"""A file that cannot give room back yet is written anew up to this size: publishing does not wait for it, statuses do."""

_INCREMENTAL = 2

_CHECKPOINT_PAGES = 256
"""Of 4 KiB: the WAL begins anew at half of its room, so that a larger group still fits."""

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]


class StateTooNew(Refused):
    """The file was written by a newer Skerry; it is left untouched."""


def migrate(connection: sqlite3.Connection, scripts: Sequence[str], path: Path) -> None:
    """Brings the schema from `user_version` to the number of scripts; each script commits with its version.

    Raises StateTooNew when the file knows more versions than this build.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > len(scripts):
        raise StateTooNew(
            f"cannot open {path}: schema {found}, this build knows {len(scripts)}. Install the newer Skerry again."
        )
    for version in range(found, len(scripts)):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{scripts[version]}\nPRAGMA user_version = {version + 1};\nCOMMIT;"
        )


def hold_room(connection: sqlite3.Connection, path: Path, free_bytes: int) -> None:
    """Makes the database and its WAL hold `ROOM` unused bytes each, when the disk has room to spare."""
    connection.execute("DROP TABLE IF EXISTS room")  # killed between the two steps below
    page = int(connection.execute("PRAGMA page_size").fetchone()[0])
    spare = page * int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    wal = path.with_name(f"{path.name}-wal")
    if min(spare, wal.stat().st_size if wal.exists() else 0) >= ROOM or free_bytes < 4 * ROOM:
        return
    connection.execute("CREATE TABLE room (filler BLOB)")
    connection.execute("INSERT INTO room VALUES (zeroblob(?))", (ROOM + page,))
    connection.execute("DROP TABLE room")
    connection.execute("PRAGMA wal_checkpoint(RESTART)")


def read_migrations(directory: Path) -> list[str]:
    """The text of every `NNNN_name.sql` in `directory`, in order."""
    return [path.read_text() for path in sorted(directory.glob("[0-9]*.sql"))]


def read_queries(path: Path) -> dict[str, str]:
    """Named queries of a `.sql` file: each begins with a line `-- name: NAME`."""
    blocks = re.split(r"^-- name: *(\w+) *$", path.read_text(), flags=re.MULTILINE)
    return {
        name: sql.strip().rstrip(";") for name, sql in zip(blocks[1::2], blocks[2::2], strict=True)
    }


class _Job(msgspec.Struct, frozen=True):
    work: Work
    durable: bool
    label: str
    alone: bool = False
    """Outside any transaction."""


class _SqliteEngine:
    """Runs jobs in one transaction a group. Lives in the commit thread."""

    def __init__(self, path: Path, scripts: Sequence[str], disk: Disk, driver: Driver) -> None:
        self._path = path
        self._scripts = scripts
        self._disk = disk
        self._driver = driver
        self._connection: sqlite3.Connection | None = None
        self._full = False
        self._unsynced = False
        self.on_corrupt: Callable[[str], None] | None = None

    def open(self) -> None:
        connection = connect(self._path, driver=self._driver)
        try:
            migrate(connection, self._scripts, self._path)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise classify(error, self._path) from error
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        try:
            hold_room(connection, self._path, self._disk.free_bytes(self._path.parent))
        except sqlite3.OperationalError as error:
            log.warning("cannot hold room for %s on the disk: %s", self._path, error)
        self._connection = connection

    def commit(self, jobs: Sequence[_Job]) -> list[Any]:
        connection = self._connection
        assert connection is not None  # noqa: S101 - open() ran before the thread takes jobs
        try:
            alone = {id(job): self._run_alone(connection, job) for job in jobs if job.alone}
            durable = any(job.durable for job in jobs)
            self._set_synchronous(connection, full=durable)
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            if len(jobs) == 1 and not jobs[0].alone:
                results = [self._run_only(connection, jobs[0])]
            else:
                results = [
                    alone[id(job)] if job.alone else self._run(connection, job) for job in jobs
                ]
            if durable and self._unsynced and connection.total_changes == before:
                # A commit of nothing syncs nothing, and whoever waits for it counts on all that came before.
                connection.execute(f"PRAGMA user_version = {len(self._scripts)}")
            for label in {job.label for job in jobs}:
                self._disk.point(f"{label}.before-commit")
            connection.execute("COMMIT")
            self._unsynced = not durable
        except sqlite3.Error as error:
            self._roll_back(connection)
            raise self._judged(error) from error
        except OSError:
            self._roll_back(connection)
            raise
        for label in {job.label for job in jobs}:
            self._disk.point(f"{label}.after-commit")
        return results

    def compact(self, connection: sqlite3.Connection) -> None:
        connection.execute("VACUUM")
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise Transient(f"cannot empty the log of {self._path}: somebody is reading")
        hold_room(connection, self._path, self._disk.free_bytes(self._path.parent))

    def give_back(self, connection: sqlite3.Connection) -> bool:
        def pragma(name: str) -> int:
            return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

        page, free = pragma("page_size"), pragma("freelist_count")
        if page * free < 2 * ROOM:
            return False
        if pragma("auto_vacuum") == _INCREMENTAL:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(min(_GIVEN_BACK, free - ROOM // page - 1)):
                connection.execute(
                    "PRAGMA incremental_vacuum(1)"
                )  # of more, the driver would take one, too
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return True
        live = page * (pragma("page_count") - free)
        room = self._disk.free_bytes(self._path.parent)
        if live <= _REWRITTEN and 2 * live + 4 * ROOM < room:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self.compact(connection)
        return False

    def close(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.execute("PRAGMA optimize")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            with contextlib.closing(
                connect(self._path, read_only=True, driver=self._driver)
            ) as last:
                last.execute("SELECT 1 FROM sqlite_schema").fetchall()
                connection.close()  # not as the last one: that would delete the WAL
        except (sqlite3.Error, Corrupt, Transient) as error:
            log.warning("cannot close %s as usual: %s", self._path, error)  # it is damaged or gone
            connection.close()

    def _run_alone(self, connection: sqlite3.Connection, job: _Job) -> Any:  # noqa: ANN401 - as below
        """Outside the group's transaction, so what fails is this job's alone: the others go on."""
        try:
            return job.work(connection)
        except sqlite3.Error as error:
            self._roll_back(connection)
            return self._judged(error)
        except (SkerryError, OSError) as error:
            self._roll_back(connection)
            return error

    def _judged(self, error: sqlite3.Error) -> Corrupt | Transient:
        judged = classify(error, self._path)
        if isinstance(judged, Corrupt) and self.on_corrupt is not None:
            self.on_corrupt(str(judged))
        return judged

    def _run(self, connection: sqlite3.Connection, job: _Job) -> Any:  # noqa: ANN401 - a job returns what it likes
        connection.execute("SAVEPOINT job")
        result = self._result(job, connection)
        if isinstance(result, Exception):
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return result

    def _run_only(self, connection: sqlite3.Connection, job: _Job) -> Any:  # noqa: ANN401 - as above
        """The transaction is this job's: a savepoint in it would only have SQLite keep every page twice."""
        result = self._result(job, connection)
        if isinstance(result, Exception):
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
        return result

    def _result(self, job: _Job, connection: sqlite3.Connection) -> Any:  # noqa: ANN401 - as above
        """What the job returns, or why it alone failed."""
        try:
            return job.work(connection)
        except sqlite3.OperationalError:
            raise  # disk full, I/O error: the whole group fails
        except Exception as error:
            if isinstance(error, sqlite3.Error) and isinstance(
                classify(error, self._path), Corrupt
            ):
                raise
            return error

    def _set_synchronous(self, connection: sqlite3.Connection, *, full: bool) -> None:
        if full != self._full:
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


class SqliteWriter:
    """The only writer of one SQLite file. `work` runs in the writer's thread, inside a transaction."""

    def __init__(
        self, path: Path, scripts: Sequence[str], disk: Disk, driver: Driver = stdlib_driver
    ) -> None:
        self._path = path
        self._driver = driver
        self._engine = _SqliteEngine(path, scripts, disk, driver)
        self._thread: CommitThread[_Job, Any] = CommitThread(
            self._engine, name=f"sqlite {path.name}"
        )

    def start(self) -> None:
        """Opens and migrates the file. Raises Corrupt, Transient or StateTooNew."""
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def reader(self) -> Reader:
        """Another connection to the same file, for reading. Raises Corrupt or Transient."""
        return connect_reader(self._path, self._driver)

    def on_corrupt(self, told: Callable[[str], None]) -> None:
        """`told` hears, in the writer's thread, each time that SQLite finds the file damaged."""
        self._engine.on_corrupt = told

    async def run(
        self, work: Callable[[sqlite3.Connection], T], *, label: str, durable: bool = True
    ) -> T:
        """Runs `work` and returns its result after the commit; raises what it raised, having undone it.

        `durable`: this and all that was committed before is on the disk then.
        """
        return cast("T", await self._thread.run(_Job(work, durable, label)))

    async def pulse(self) -> None:
        """Returns when the writer's thread has come to it; writes nothing."""
        await self._thread.pulse()

    async def compact(self) -> None:
        """Writes the file anew without what was deleted or replaced, and empties its WAL. Raises Transient, Corrupt."""
        await self._thread.run(
            _Job(self._engine.compact, durable=True, label="compact", alone=True)
        )

    async def give_back(self) -> bool:
        """One small step of giving room that nothing uses back to the disk, but for `ROOM`; whether there is more to do.

        Others' jobs come in between. Raises Transient.
        """
        job = _Job(self._engine.give_back, durable=False, label="give-back", alone=True)
        return bool(await self._thread.run(job))

    def submit(
        self, work: Callable[[sqlite3.Connection], T], *, label: str, durable: bool = True
    ) -> Future[T]:
        """As `run`, for callers outside an event loop."""
        return cast("Future[T]", self._thread.submit(_Job(work, durable, label)))
