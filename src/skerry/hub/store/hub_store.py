"""The hub's store as features use it: `write` and `read`, with a SQLAlchemy connection.

One thread writes. It commits whatever waits as one group, each job in its own savepoint, so many
callers pay for one fsync and a failing job takes nothing else with it. A group that met another process in a deadlock
is run again, so a job may run more than once and must change nothing but the database. Readers have threads and
connections of their own and never wait for the writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError

from skerry.hub.store import facts, locks
from skerry.hub.store.engine import (
    TRIES,
    classify,
    compact,
    give_back,
    is_impatient,
    may_be_repeated,
    parse_url,
    reader_engine,
    write_anew,
    writer_engine,
)
from skerry.hub.store.keys import KEYS, StoreKeys, Wish, has_ring
from skerry.hub.store.notices import ORIGIN
from skerry.hub.store.schema import migrate
from skerry.kit.clock import Clock
from skerry.kit.commit import CommitThread
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.kit.ids import random_token
from skerry.kit.one_line import one_line
from skerry.kit.sqlite_connections import Driver


def _COMPACT(_: Connection) -> None:  # noqa: N802 - a job that is known by its identity
    """Run after its group's transaction, because VACUUM takes none."""


T = TypeVar("T")
Work = Callable[[Connection], Any]


@dataclass(frozen=True)
class _Last:
    """A job that comes after the others of its group."""

    work: Work

    def __call__(self, connection: Connection) -> Any:  # noqa: ANN401 - a job returns what it likes
        return self.work(connection)


_MAX_GROUP = 32
"""Enough for one fsync to cost each job little; more would make the group's first job wait for its last."""


class HubStore:
    """`url` is a SQLAlchemy address: «sqlite:////path/hub.db» or «postgresql://…». Raises InvalidInput.

    With an `encryption` wish bodies are sealed; without one nothing in the database may be. `driver` opens a SQLite file;
    None: as SQLAlchemy does.
    """

    facts: facts.Facts
    """Known after `start`."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        readers: int = 4,
        encryption: Wish | None = None,
        driver: Driver | None = None,
    ) -> None:
        self._url = parse_url(url)
        self.origin = random_token(8)
        """Names this process to the others on the same database."""
        self.keys = StoreKeys(self._url, encryption, RealDisk(), clock) if encryption else None
        """None where encryption is off; its ring is open after `start`."""
        info: dict[str, object] = {ORIGIN: self.origin}
        if self.keys is not None:
            info[KEYS] = self.keys
        self._group = _Group(self._url, clock, info, self.keys, driver)
        self._writer: CommitThread[Work, Any] = CommitThread(
            self._group, name="hub writer", max_group=_MAX_GROUP
        )
        self._reader = reader_engine(self._url, readers + 1, info, driver)
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="hub reader")
        self._surveyor = ThreadPoolExecutor(1, thread_name_prefix="hub surveyor")

    @property
    def url(self) -> URL:
        """The database's address."""
        return self._url

    @property
    def shared(self) -> bool:
        """Whether other hub processes may work on the same database."""
        return self._url.get_backend_name() == "postgresql"

    def start(self) -> None:
        """Opens and migrates the database. Raises Corrupt, Transient, Refused or StateTooNew."""
        self._writer.start()
        self.facts = self._group.facts

    def stop(self) -> None:
        """Commits what is queued and closes every connection."""
        self._writer.stop()
        self._threads.shutdown()
        self._surveyor.shutdown()
        self._reader.dispose()

    async def pulse(self) -> None:
        """Returns when the writer's thread has come to it; writes nothing."""
        await self._writer.pulse()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in the writer's thread; returns its result once it is durable.

        Raises what `work` raised, having undone it, InvalidInput for what no column holds, or Transient or Corrupt when the
        database failed.
        """
        return cast("T", await self._writer.run(work))

    async def write_last(self, work: Callable[[Connection], T]) -> T:
        """As `write`, after whatever else is in the same transaction, so that the locks of `work` are its last ones."""
        return cast("T", await self._writer.run(_Last(work)))

    async def compact(self) -> None:
        """Leaves nothing of deleted and changed rows in SQLite's file and log; jobs wait as long. Raises Transient.

        PostgreSQL takes care of its files itself.
        """
        if not self.shared:
            await self._writer.run(_COMPACT)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one consistent snapshot in a reader's thread. Raises as `write`, and InvalidInput.

        InvalidInput: what it asks for is nothing that the database could hold.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, work)

    async def survey(self, work: Callable[[Connection], T]) -> T:
        """As `read`, for a person's report that may read very much: they take turns, and keep no reader from nodes."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._surveyor, self._read, work)

    async def give_back(self) -> bool:
        """One small step of giving unused room of a SQLite file back to the disk; whether there is more. Raises as `write`."""
        return False if self.shared else await self.write(give_back)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except (DataError, OverflowError) as error:
            raise _unfit(error, "ask for that") from error
        except DBAPIError as error:
            raise classify(error, self._url) from error


class _Group:
    """Runs groups of jobs in one transaction each. Lives in the writer's thread."""

    facts: facts.Facts

    def __init__(
        self,
        url: URL,
        clock: Clock,
        info: Mapping[str, object],
        keys: StoreKeys | None,
        driver: Driver | None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._info = info
        self._keys = keys
        self._driver = driver
        self._engine: Engine | None = None

    def open(self) -> None:
        with contextlib.ExitStack() as undo:
            engine = writer_engine(self._url, self._info, self._driver)
            undo.callback(engine.dispose)
            try:
                if self._url.get_backend_name() == "sqlite":
                    compact(engine, shutil.disk_usage(Path(self._url.database or "").parent).free)
                with engine.begin() as connection:
                    locks.of_schema(connection)
                    migrate(connection)
                    self._open_keys(connection)
                    self.facts = facts.ensure(connection, self._clock)
            except DBAPIError as error:
                raise classify(error, self._url) from error
            undo.pop_all()
        self._engine = engine

    def _open_keys(self, connection: Connection) -> None:
        """A setting must not decrypt a database."""
        if not has_ring(connection) and facts.are_sealed(connection):
            raise Refused(
                f"cannot open {self._url}: its data is sealed, and its keys are gone. Nothing was touched: put the "
                "database back from a backup."
            )
        if self._keys is not None:
            self._keys.open(connection)
        elif has_ring(connection):
            raise Refused(
                f"cannot open {self._url} with encryption switched off: its data is sealed. Nothing was touched. Set "
                "encryption.storage.enabled again."
            )

    def commit(self, jobs: Sequence[Work]) -> list[Any]:
        for _ in range(TRIES - 1):
            try:
                return self._commit(jobs)
            except DBAPIError as error:
                if not may_be_repeated(error):
                    raise classify(error, self._url) from error
        try:
            return self._commit(jobs)
        except DBAPIError as error:
            raise classify(error, self._url) from error

    def _commit(self, jobs: Sequence[Work]) -> list[Any]:
        assert self._engine is not None  # noqa: S101 - open() ran before the thread takes jobs
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                self._fence(connection)
            alone = len(jobs) == 1
            results: list[Any] = [None] * len(jobs)
            for at in sorted(range(len(jobs)), key=lambda at: isinstance(jobs[at], _Last)):
                if jobs[at] is not _COMPACT:
                    results[at] = _run(connection, jobs[at], alone=alone)
        return [
            _written_anew(self._engine) if job is _COMPACT else result
            for job, result in zip(jobs, results, strict=True)
        ]

    def _fence(self, connection: Connection) -> None:
        """Whatever other processes have done about the keys meanwhile, this transaction writes as the ring says."""
        if self._keys is not None:
            self._keys.fence(connection)
            return
        locks.of_sealing(connection)
        if has_ring(connection):
            # Transient: nodes go to another hub, which takes what they have.
            raise Transient(
                f"cannot write into {self._url}: another hub has switched encryption at rest on. Restart this one with "
                "encryption.storage.enabled."
            )

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()


def _written_anew(engine: Engine) -> SkerryError | None:
    """The group's other jobs are done already, so an error is this job's alone."""
    try:
        write_anew(engine)
    except SkerryError as error:
        return error
    return None


def _unfit(error: DataError | OverflowError, deed: str) -> InvalidInput:
    """What no column holds: SQLite's driver says so by another error than PostgreSQL."""
    cause = error.orig if isinstance(error, DataError) else error
    return InvalidInput(f"cannot {deed}: {one_line(str(cause))}")


def _run(connection: Connection, job: Work, *, alone: bool) -> Any:  # noqa: ANN401 - a job returns what it likes
    """The job's result, or why it failed and was undone. `alone`: the transaction is its own, and needs no savepoint."""
    try:
        with contextlib.nullcontext() if alone else connection.begin_nested():
            return job(connection)
    except IntegrityError as error:
        failed: Exception = error  # this job's rows are wrong; the others of its group go on
    except (DataError, OverflowError) as error:
        failed = _unfit(error, "write that")
        failed.__cause__ = error
    except DatabaseError as error:
        if not is_impatient(error):
            raise  # disk full, connection lost, corrupt: the whole group fails
        failed = classify(error, connection.engine.url)
    except Exception as error:  # noqa: BLE001 - the caller of this one job gets it
        failed = error
    transaction = connection.get_transaction()
    if alone and transaction is not None:
        transaction.rollback()
    return failed
