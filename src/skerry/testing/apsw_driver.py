"""SQLite by apsw in the stdlib's manners: what `kit.sqlite` and the stores use of a connection, with the same errors.

For tests: apsw brings its own, newer SQLite and lets a VFS of ours stand below it (`power_cut_vfs`). A node uses the
stdlib. Both pass `tests/contract/test_sqlite_drivers.py`. One process must not have the same file open by both: two
copies of SQLite take each other's locks away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import apsw

Parameters = Sequence[Any] | Mapping[str, Any]

_OPERATIONAL = frozenset({
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_ABORT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA,
})  # fmt: skip
_KINDS: dict[int, type[sqlite3.Error]] = {
    sqlite3.SQLITE_INTERNAL: sqlite3.InternalError,
    sqlite3.SQLITE_NOTFOUND: sqlite3.InternalError,
    sqlite3.SQLITE_TOOBIG: sqlite3.DataError,
    sqlite3.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    sqlite3.SQLITE_MISMATCH: sqlite3.IntegrityError,
    sqlite3.SQLITE_MISUSE: sqlite3.InterfaceError,
    sqlite3.SQLITE_RANGE: sqlite3.InterfaceError,
} | dict.fromkeys(_OPERATIONAL, sqlite3.OperationalError)


class ApswDriver:
    """Implements `kit.sqlite_connections.Driver`; `vfs` is the name of a registered one, empty for the operating system's."""

    def __init__(self, vfs: str = "") -> None:
        self._vfs = vfs

    def __call__(self, uri: str) -> sqlite3.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        try:
            opened = apsw.Connection(uri, flags=flags, vfs=self._vfs or None)
        except apsw.Error as error:
            raise stdlib_error(error) from error
        return cast("sqlite3.Connection", ApswConnection(opened))


class Row(tuple[Any, ...]):
    """A row by position and by name, as `sqlite3.Row`."""

    _names: tuple[str, ...]

    @classmethod
    def named(cls, values: Iterable[Any], names: tuple[str, ...]) -> Row:
        """A row with these columns."""
        row = cls(values)
        row._names = names
        return row

    def keys(self) -> list[str]:
        """The names of its columns."""
        return list(self._names)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - a column has any type
        if isinstance(place, str):
            for name, value in zip(self._names, self, strict=True):
                if name.lower() == place.lower():
                    return value
            raise IndexError("No item with that key")
        return super().__getitem__(place)


class ApswCursor:
    """One statement's rows. `rowcount` is -1 for a statement that changes nothing, `arraysize` is for SQLAlchemy."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._cursor = db.cursor()
        self._names: list[str] = []
        # Afterwards only a statement with rows could tell. No method of ours: a cycle would keep the statement open.
        self._cursor.exec_trace = partial(_note_names, self._names)
        self.rowcount = -1
        self.arraysize = 1

    def execute(self, sql: str, parameters: Parameters = ()) -> ApswCursor:
        """Runs one statement up to its first row. Raises sqlite3.Error."""
        return self._run(lambda: self._cursor.execute(sql, parameters))

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> ApswCursor:
        """Runs one statement for each of the rows. Raises sqlite3.Error."""
        return self._run(lambda: self._cursor.executemany(sql, rows))

    @property
    def description(self) -> list[tuple[str | None, ...]] | None:
        """The columns' names, as the DB-API has them; None: no rows."""
        return [(name, *[None] * 6) for name in self._names] or None

    @property
    def lastrowid(self) -> int:
        """Of the row that was inserted last."""
        return self._db.last_insert_rowid()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        try:
            values = next(self._cursor)
        except apsw.Error as error:
            raise stdlib_error(error) from error
        return Row.named(values, tuple(self._names))

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        return next(self, None)

    def fetchmany(self, size: int = 1) -> list[Row]:
        """Up to `size` rows."""
        return [row for _, row in zip(range(size), self, strict=False)]

    def fetchall(self) -> list[Row]:
        """All that are left."""
        return list(self)

    def close(self) -> None:
        """Lets go of what is left."""
        self._cursor.close(True)  # noqa: FBT003 - by force, as apsw names it

    def _run(self, run: Callable[[], object]) -> ApswCursor:
        try:
            before = self._db.total_changes()
            run()
        except apsw.Error as error:
            raise stdlib_error(error) from error
        except (KeyError, TypeError) as error:
            raise sqlite3.ProgrammingError(f"cannot bind: {error}") from error
        self.rowcount = -1 if self._names else self._db.total_changes() - before
        return self


class ApswConnection:
    """What this code base and SQLAlchemy use of `sqlite3.Connection`. May be used from any thread, by one at a time."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.row_factory: object = Row
        self.isolation_level: str | None = None
        self.told: Callable[[str], None] | None = None
        """Of `kit.sqlite_connections.Reader`; this one never tells."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._db.in_transaction

    @property
    def total_changes(self) -> int:
        """Rows that were changed since it was opened."""
        return self._db.total_changes()

    def cursor(self) -> ApswCursor:
        """A cursor that has run nothing yet. Raises sqlite3.Error."""
        try:
            return ApswCursor(self._db)
        except apsw.Error as error:
            raise stdlib_error(error) from error

    def execute(self, sql: str, parameters: Parameters = ()) -> ApswCursor:
        """Runs one statement up to its first row. Raises sqlite3.Error."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> ApswCursor:
        """Runs one statement for each of the rows. Raises sqlite3.Error."""
        return self.cursor().executemany(sql, rows)

    def executescript(self, sql: str) -> ApswCursor:
        """Commits what is open, then runs all statements. Raises sqlite3.Error."""
        self.commit()
        return self.execute(sql)

    def commit(self) -> None:
        """Ends the transaction, if there is one. Raises sqlite3.Error."""
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Takes the transaction back, if there is one. Raises sqlite3.Error."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def create_function(
        self,
        name: str,
        arguments: int,
        function: Callable[..., Any],
        *,
        deterministic: bool = False,
    ) -> None:
        """Lets SQL call `function`."""
        self._db.create_scalar_function(name, function, arguments, deterministic=deterministic)

    def backup(self, target: ApswConnection, *, pages: int = -1) -> None:
        """Copies the database into `target`, `pages` at a time. Raises sqlite3.Error."""
        try:
            with target._db.backup("main", self._db, "main") as copy:
                while not copy.done:
                    copy.step(pages)
        except apsw.Error as error:
            raise stdlib_error(error) from error

    def interrupt(self) -> None:
        """Ends what runs, from another thread."""
        self._db.interrupt()

    def close(self) -> None:
        """Closes it, and what its cursors hold."""
        self._db.close(True)  # noqa: FBT003 - by force, as apsw names it


def stdlib_error(error: apsw.Error) -> sqlite3.Error:
    """The stdlib's exception for the same failure, with its extended code."""
    extended = int(getattr(error, "extendedresult", 0))
    if not extended:  # of apsw itself: a closed connection, wrong bindings
        return sqlite3.ProgrammingError(str(error))
    found = _KINDS.get(extended & 0xFF, sqlite3.DatabaseError)(str(error))
    found.sqlite_errorcode = extended
    return found


def _note_names(names: list[str], cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
    names[:] = [column[0] for column in cursor.get_description()]
    return True
