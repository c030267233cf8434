"""The database of a PostgreSQL server that a backup is put back into: one of the two of `places`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, inspect

from skerry.hub.backups import programs
from skerry.hub.backups.places import epoch_of
from skerry.hub.store.engine import reading
from skerry.kit.errors import Refused, Transient

_PARTING, _AGAIN = 2.0, 0.05
"""Seconds: for so long the server may still show a connection that its hub has closed; between two looks."""


class ServerPlace:
    """PostgreSQL. To replace what is there, the user must be allowed to create databases."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._name = url.database or ""

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Only asked at the beginning; `swap` fails when somebody has come."""
        others, end = self._others(), time.monotonic() + _PARTING
        while others and time.monotonic() < end:
            time.sleep(_AGAIN)
            others = self._others()
        if others:
            raise Refused(
                f"cannot restore {self.url}: {others} connections use it. Stop all hubs of it first."
            )
        yield

    def _others(self) -> int:
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = %s AND backend_type = 'client backend'"
        )
        with self._server() as server:
            return _one(server, query, self._name)

    def is_empty(self) -> bool:
        with self._server() as server:
            if not _one(server, "SELECT count(*) FROM pg_database WHERE datname = %s", self._name):
                return True
        with reading(self.url) as connection:
            return not inspect(connection).get_table_names()

    def epoch(self) -> int:
        return 0 if self.is_empty() else epoch_of(self.url)

    def stage(self, copy: Path, scratch: Path) -> URL:
        programs.check(copy)
        name = f"{self._name}_restored"
        with self._server() as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            create = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
            try:
                server.execute(create.format(sql.Identifier(name)))
            except psycopg.errors.InsufficientPrivilege as error:
                raise Refused(
                    f"cannot restore {self.url}: its user may not create databases. Let an administrator do it: "
                    f"ALTER ROLE {self.url.username} CREATEDB"
                ) from error
        staged = self.url.set(database=name)
        programs.restore(copy, staged, scratch)
        return staged

    def swap(self, staged: URL, now: int) -> str:
        """All renamings are one transaction; what was set aside before goes only after it."""
        del now
        aside, older = f"{self._name}_before", f"{self._name}_older"
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with self._server() as server:
            there = "SELECT count(*) FROM pg_database WHERE datname = %s"
            found = _one(server, there, self._name)
            drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(older))
            server.execute(drop)
            with server.transaction():
                if found and _one(server, there, aside):
                    server.execute(rename.format(*map(sql.Identifier, (aside, older))))
                if found:
                    server.execute(rename.format(*map(sql.Identifier, (self._name, aside))))
                names = (staged.database or "", self._name)
                server.execute(rename.format(*map(sql.Identifier, names)))
            with contextlib.suppress(psycopg.Error):  # somebody uses it: the next restore drops it
                server.execute(drop)
        return f"database {aside}" if found else ""

    @contextlib.contextmanager
    def _server(self) -> Iterator[psycopg.Connection[Any]]:
        address = programs.conninfo(self.url.set(database="postgres"), password=self.url.password)
        try:
            with psycopg.connect(address, autocommit=True, connect_timeout=5) as server:
                yield server
        except psycopg.Error as error:
            raise Transient(f"cannot use {self.url}: {str(error).strip()}") from error


def _one(server: psycopg.Connection[Any], query: str, *values: object) -> int:
    row = server.execute(query.encode(), values).fetchone()
    return 0 if row is None else int(row[0])
