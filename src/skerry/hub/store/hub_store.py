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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError

from skerry.hub.store import facts, locks
from skerry.hub.store.engine import (
    classify,
    compact,
    give_back,
    is_impatient,
    may_be_repeated,
    parse_url,
    reader_engine,
    writer_engine,
)
from skerry.hub.store.notices import ORIGIN
from skerry.hub.store.schema import migrate
from skerry.kit.clock import Clock
from skerry.kit.commit import CommitThread
from skerry.kit.ids import random_token

_TRIES = 5
"""Of a group that PostgreSQL chose to break a deadlock with."""

T = TypeVar("T")
Work = Callable[[Connection], Any]

_MAX_GROUP = 32
"""Enough for one fsync to cost each job little; more would make the group's first job wait for its last."""


class HubStore:
    """`url` is a SQLAlchemy address: «sqlite:////path/hub.db» or «postgresql://…». Raises InvalidInput."""

    facts: facts.Facts
    """Known after `start`."""

    def __init__(self, url: str, clock: Clock, *, readers: int = 4) -> None:
        self._url = parse_url(url)
        self.origin = random_token(8)
        """Names this process to the others on the same database."""
        self._group = _Group(self._url, clock, self.origin)
        self._writer: CommitThread[Work, Any] = CommitThread(
            self._group, name="hub writer", max_group=_MAX_GROUP
        )
        self._reader = reader_engine(self._url, readers)
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="hub reader")

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
        self._reader.dispose()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in the writer's thread; returns its result once it is durable.

        Raises what `work` raised, having undone it, or Transient or Corrupt when the database failed.
        """
        return cast("T", await self._writer.run(work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one consistent snapshot in a reader's thread. Raises as `write`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, work)

    async def give_back(self) -> bool:
        """One small step of giving unused room of a SQLite file back to the disk; whether there is more. Raises as `write`."""
        return False if self.shared else await self.write(give_back)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise classify(error, self._url) from error


class _Group:
    """Runs groups of jobs in one transaction each. Lives in the writer's thread."""

    facts: facts.Facts

    def __init__(self, url: URL, clock: Clock, origin: str) -> None:
        self._url = url
        self._clock = clock
        self._origin = origin
        self._engine: Engine | None = None

    def open(self) -> None:
        with contextlib.ExitStack() as undo:
            engine = writer_engine(self._url, {ORIGIN: self._origin})
            undo.callback(engine.dispose)
            try:
                if self._url.get_backend_name() == "sqlite":
                    compact(engine, shutil.disk_usage(Path(self._url.database or "").parent).free)
                with engine.begin() as connection:
                    locks.of_schema(connection)
                    migrate(connection)
                    self.facts = facts.ensure(connection, self._clock)
            except DBAPIError as error:
                raise classify(error, self._url) from error
            undo.pop_all()
        self._engine = engine

    def commit(self, jobs: Sequence[Work]) -> list[Any]:
        for _ in range(_TRIES - 1):
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
            return [_run(connection, job) for job in jobs]

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()


def _run(connection: Connection, job: Work) -> Any:  # noqa: ANN401 - a job returns what it likes
    try:
        with connection.begin_nested():
            return job(connection)
    except (IntegrityError, DataError) as error:
        return error  # this job's rows are wrong; its savepoint is undone and the others go on
    except DatabaseError as error:
        if is_impatient(error):
            return classify(error, connection.engine.url)
        raise  # disk full, connection lost, corrupt: the whole group fails
    except Exception as error:  # noqa: BLE001 - the caller of this one job gets it
        return error
