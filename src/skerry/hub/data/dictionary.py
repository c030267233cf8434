"""Numbers for texts that records repeat: a table of distinct keys, and a bounded cache in front of it.

The cache learns a number only after the transaction that wrote it was committed, so it never holds
one that the table does not have. Other processes on the same database change no number, and remove only what has not
been used for days; but a server that comes in the place of another may know other numbers, so every new connection
begins with an empty cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection, Table, case

from skerry.hub.store.engine import MADE, insert
from skerry.kit.clock import NS

Key = TypeVar("Key")

REFRESH = 86400 * NS
"""A row's `used_at` may be this much (ns) behind its last use; retention allows for it."""


@dataclass(frozen=True)
class Entry:
    """A row's number, and its `used_at`."""

    id: int
    used_at: int


@dataclass(frozen=True)
class Resolved(Generic[Key]):
    """The numbers that were asked for, and what the cache may learn after the commit."""

    ids: dict[Key, int]
    learned: dict[Key, Entry]
    connection: object


class Dictionary(Generic[Key]):
    """The rows of `table`, which are distinct by the columns `unique`; at most `limit` are cached."""

    def __init__(self, table: Table, unique: tuple[str, ...], *, limit: int) -> None:
        self._table = table
        self._unique = unique
        self._limit = limit
        self._cache: dict[Key, Entry] = {}
        self._connection: object = None

    def meet(self, connection: Connection) -> None:
        """Forgets what was learned over another connection than this. In the writer's thread, before `resolve`."""
        if connection.info[MADE] is not self._connection:
            self._connection, self._cache = connection.info[MADE], {}

    def resolve(
        self,
        connection: Connection,
        keys: Iterable[Key],
        at: int,
        columns_of: Callable[[Key], dict[str, str]],
    ) -> Resolved[Key]:
        """The numbers of `keys`, used at `at` (ns since 1970); new keys get one. In the writer's thread.

        `columns_of` gives a key's columns, when it is not in the cache.
        """
        ids: dict[Key, int] = {}
        missing: list[Key] = []
        for key in keys:
            entry = self._cache.get(key)
            if entry is not None and at - entry.used_at < REFRESH:
                ids[key] = entry.id
            else:
                missing.append(key)
        learned = self._write(connection, {key: columns_of(key) for key in missing}, at)
        ids.update((key, entry.id) for key, entry in learned.items())
        return Resolved(ids, learned, self._connection)

    def learn(self, resolved: Resolved[Key]) -> None:
        """Caches what a committed transaction resolved."""
        if resolved.connection is not self._connection:
            return
        if len(self._cache) + len(resolved.learned) > self._limit:
            self._cache = {}
        self._cache.update(resolved.learned)

    def _write(
        self, connection: Connection, columns: Mapping[Key, dict[str, str]], at: int
    ) -> dict[Key, Entry]:
        if not columns:
            return {}
        by_unique = {tuple(row[name] for name in self._unique): key for key, row in columns.items()}
        statement = insert(connection, self._table)
        used_at = self._table.c.used_at
        later = case(
            (used_at > statement.excluded.used_at, used_at), else_=statement.excluded.used_at
        )
        found = connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(self._unique), set_={"used_at": later}
            ).returning(self._table.c.id, *(self._table.c[name] for name in self._unique)),
            [{**row, "used_at": at} for row in columns.values()],
        )
        return {by_unique[tuple(row[1:])]: Entry(row.id, at) for row in found}
