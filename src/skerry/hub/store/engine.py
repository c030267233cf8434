"""SQLAlchemy engines for the two databases that a hub can have: SQLite (a file) and PostgreSQL.

The writer's transactions take SQLite's write lock at once and are durable when they commit; the
readers' transactions are read-only snapshots. `migrate` (in `schema`) and `HubStore` use these engines.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from skerry.kit.errors import Corrupt, InvalidInput, Refused, Transient
from skerry.kit.sqlite_connections import Driver
from skerry.kit.sqlite_connections import classify as classify_sqlite

_WRITERS_CACHE_KIB = 8 * 1024
_READERS_CACHE_KIB = 2 * 1024
"""Of each of five readers: what they read the system has in its cache, too, and a hub is to stay below 150 MB."""
_CHECKPOINT_PAGES = 4000
_LOG_BYTES = 64 * 1024 * 1024
"""A WAL that a long reader let grow is cut to this when it begins anew."""
_PAGES_AT_ONCE = 500
"""Pages that are given back to the disk in one step: a few milliseconds."""
_WORTH = 1000
"""Free pages from which giving back begins, and how many stay for what comes next."""

CONNECT = {
    "connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}  # fmt: skip
"""How every connection to PostgreSQL is made: a server that vanished without a word is noticed in seconds."""

_INCREMENTAL = 2
_EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"
"""Its row begins with 1 when a reader kept it from doing all of it."""

MADE = "skerry made"
"""Key in a connection's `info`: an object of its own for each connection that was made; the `info` itself is used again."""

TRIES = 5
"""Of a transaction that PostgreSQL chose to break a deadlock with."""

T = TypeVar("T")

_AGAIN = frozenset({"40P01", "40001"})
"""SQLSTATEs that say nothing about the statements: a deadlock, a serialization failure."""


def parse_url(text: str) -> URL:
    """The address of a database. Raises InvalidInput for anything but SQLite and PostgreSQL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise InvalidInput(
            "cannot read the address of the database: write sqlite:////path/to/hub.db or "
            "postgresql://user@host:5432/name"
        ) from error
    if url.get_backend_name() == "postgresql":
        return _with_password_apart(url.set(drivername="postgresql+psycopg"))
    if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
        return url
    raise InvalidInput(
        f"cannot use database «{url}»: write sqlite:////path/to/hub.db or postgresql://user@host/name"
    )


def _with_password_apart(url: URL) -> URL:
    """A password in the query would be shown with the address, and be among the arguments of programs."""
    given = url.query.get("password")
    if given is None:
        return url
    password = given if isinstance(given, str) else given[-1]
    return url.difference_update_query(["password"]).set(password=url.password or password)


def writer_engine(
    url: URL, info: Mapping[str, object] | None = None, driver: Driver | None = None
) -> Engine:
    """An engine with one connection, whose commits are on disk when they return. Raises Refused.

    `info` is put into its `Connection.info`. `driver` opens a SQLite file; None: as SQLAlchemy does.
    """
    if url.get_backend_name() == "sqlite":
        _create_private(_path(url))
    return _informed(_engine(url, driver, size=1, writes=True), info)


def reader_engine(
    url: URL,
    readers: int,
    info: Mapping[str, object] | None = None,
    driver: Driver | None = None,
) -> Engine:
    """An engine with up to `readers` connections that cannot write and see one snapshot a transaction."""
    return _informed(_engine(url, driver, size=readers, writes=False), info)


def write_anew(engine: Engine) -> None:
    """Writes a writer's SQLite file anew and empties its log, so that neither holds anything that was deleted.

    Raises Corrupt, or Transient while somebody reads what the log must keep for him.
    """
    path = _path(engine.url)
    try:
        with contextlib.closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            # The log first: a VACUUM for nothing costs as much room as the file.
            for statement in (_EMPTY_LOG, "VACUUM", _EMPTY_LOG):
                found = cursor.execute(statement).fetchall()
                if statement == _EMPTY_LOG and found[0][0]:
                    raise Transient(f"cannot empty the log of {path}: somebody still reads from it")
    except sqlite3.Error as error:
        raise classify_sqlite(error, path) from error


@contextlib.contextmanager
def reading(url: URL) -> Iterator[Connection]:
    """One snapshot, by a connection of its own: for what works beside a hub. Raises Transient, Corrupt."""
    yield from _once(reader_engine(url, 1), url)


def written(url: URL, work: Callable[[Connection], T]) -> T:
    """Does `work` in one transaction, by a connection of its own: for what works beside a hub. Raises Transient, Corrupt.

    It is done again when it met a hub in a deadlock, so it must change nothing but the database.
    """
    engine = writer_engine(url)
    try:
        for tries_left in reversed(range(TRIES)):
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not tries_left or not may_be_repeated(error):
                    raise classify(error, url) from error
        raise AssertionError
    finally:
        engine.dispose()


def _once(engine: Engine, url: URL) -> Iterator[Connection]:
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise classify(error, url) from error
    finally:
        engine.dispose()


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT, in the connection's dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def give_back(connection: Connection) -> bool:
    """One step of giving pages of a SQLite file that nothing uses back to the disk; whether there is more to do.

    Within the writer's transaction. A file from before this was built in keeps its pages until `compact`.
    """
    run = connection.exec_driver_sql
    if run("PRAGMA auto_vacuum").scalar_one() != _INCREMENTAL:
        return False
    free = int(run("PRAGMA freelist_count").scalar_one())
    if free < _WORTH + _PAGES_AT_ONCE:
        return False
    for _ in range(min(_PAGES_AT_ONCE, free - _WORTH)):
        run("PRAGMA incremental_vacuum(1)")  # of more pages Python's driver would take one, too
    return True


def compact(engine: Engine, free_bytes: int) -> None:
    """Writes an older SQLite file anew, so that it can give room back from now on, if that is worth it and there is room.

    Raises Corrupt or Transient.
    """
    connection = engine.connect()
    try:
        cursor = connection.connection.cursor()

        def pragma(name: str) -> int:
            return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])

        pages, free = pragma("page_count"), pragma("freelist_count")
        needed = 2 * pragma("page_size") * (pages - free)
        if (
            pragma("auto_vacuum") != _INCREMENTAL
            and free > max(_WORTH, pages // 4)
            and needed < free_bytes
        ):
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
            cursor.execute("VACUUM")
    except sqlite3.Error as error:
        raise classify_sqlite(error, _path(engine.url)) from error
    finally:
        connection.close()


def classify(error: DBAPIError, url: URL) -> Corrupt | Transient:
    """What a caller should do about a failure of the database itself: restore it, or try again later."""
    if isinstance(error.orig, sqlite3.Error):
        return _told(error.orig, _path(url))
    shown = url.set(drivername=url.get_backend_name())
    return Transient(f"cannot use {shown}: {' '.join(str(error.orig).split())}")


def may_be_repeated(error: DBAPIError) -> bool:
    """Whether the same transaction, run again at once, should succeed."""
    return getattr(error.orig, "sqlstate", None) in _AGAIN


def is_impatient(error: DBAPIError) -> bool:
    """Whether a statement gave up waiting for a lock, as it had been told to: nothing else is wrong."""
    return getattr(error.orig, "sqlstate", None) == "55P03"


def _informed(engine: Engine, info: Mapping[str, object] | None) -> Engine:
    def connected(_: object, record: ConnectionPoolEntry) -> None:
        record.info.update(info or {})
        record.info[MADE] = object()

    event.listen(engine, "connect", connected)
    return engine


def _engine(url: URL, driver: Driver | None, *, size: int, writes: bool) -> Engine:
    sqlite_file = url.get_backend_name() == "sqlite"
    own: dict[str, object] = {} if sqlite_file else {"connect_args": CONNECT}
    if sqlite_file and driver is not None:
        own["creator"] = partial(driver, _path(url).absolute().as_uri())
    # What a statement is given are hashes of secrets and people's words: nothing for a log.
    engine = create_engine(url, pool_size=size, max_overflow=0, hide_parameters=True, **own)
    if not sqlite_file and not writes:
        engine = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    if sqlite_file:
        event.listen(engine, "connect", _sqlite_connected(_path(url), writes=writes))
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    elif writes:
        event.listen(engine, "connect", _durable)
    return engine


def _sqlite_connected(path: Path, *, writes: bool) -> Callable[[sqlite3.Connection, object], None]:
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the «begin» listener says how transactions start
        try:
            prepare(connection)
        except sqlite3.Error as error:  # what a listener raises is not made a DBAPIError
            raise _told(error, path) from error

    def prepare(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 5000")
        if (
            writes and not path.stat().st_size
        ):  # of one that is there it can be told only by `compact`
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        cache = _WRITERS_CACHE_KIB if writes else _READERS_CACHE_KIB
        connection.execute(f"PRAGMA cache_size = -{cache}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")

    return connected


def _durable(connection: Any, _record: object) -> None:  # noqa: ANN401 - a psycopg connection
    """Nodes forget what we acknowledge, so a server that answers before its disk does is overruled."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    connection.commit()


def _create_private(path: Path) -> None:
    """The file holds hashes of secrets: only its owner may read it, and its WAL takes over the mode."""
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise Refused(
            f"cannot create {path}: {error.strerror}. Create the directory, or give another path."
        ) from error


def _path(url: URL) -> Path:
    return Path(url.database or "")


def _told(error: sqlite3.Error, path: Path) -> Corrupt | Transient:
    found = classify_sqlite(error, path)
    if isinstance(found, Corrupt):
        return Corrupt(
            f"{found}. Stop the hub and put a backup in its place, which sets this file aside: "
            "skerry hub restore FILE --replace. The nodes send again what the backup lacks."
        )
    return found
