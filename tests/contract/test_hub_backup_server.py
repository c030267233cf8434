"""Backups beside hubs on one PostgreSQL: what a failure of the server's must not cost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Connection, text
from tests.postgres import Postgres

from skerry.hub.backups import server_place
from skerry.hub.backups.server_place import ServerPlace
from skerry.hub.store.engine import parse_url, written
from skerry.kit.errors import Refused, Transient

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as found:
        yield found


def databases(url: str) -> set[str]:
    name = url.rpartition("/")[2]
    with psycopg.connect(f"{url.rpartition('/')[0]}/postgres") as server:
        found = server.execute("SELECT datname FROM pg_database").fetchall()
    return {each.removeprefix(name) for (each,) in found if each.startswith(f"{name}")}


def make(url: str, *ends: str) -> None:
    at, _, name = url.rpartition("/")
    with psycopg.connect(f"{at}/postgres", autocommit=True) as server:
        for end in ends:
            server.execute(f"CREATE DATABASE {name}{end}".encode())


def test_what_was_set_aside_before_goes_only_after_the_swap(url: str) -> None:
    make(url, "_before", "_restored")
    place = ServerPlace(parse_url(url))
    staged = parse_url(f"{url}_restored")
    with psycopg.connect(url), pytest.raises(Transient):
        place.swap(staged, 1)
    assert databases(url) == {"", "_before", "_restored"}
    assert place.swap(staged, 1).endswith("_before")
    assert databases(url) == {"", "_before"}


def test_a_database_that_a_hub_uses_is_not_put_back_until_the_hub_has_gone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server shows a connection for a moment longer than it lasts, so what is there is looked at again."""
    place = ServerPlace(parse_url(url))
    with psycopg.connect(url) as hub:
        with pytest.raises(Refused, match="1 connections use it. Stop all hubs"), place.alone():
            pytest.fail("the hub is still there")
        monkeypatch.setattr(time, "sleep", lambda _: hub.close())
        monkeypatch.setattr(server_place, "_PARTING", 30.0)
        with place.alone():
            assert hub.closed


def test_what_met_a_hub_in_a_deadlock_is_done_again(url: str) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> str:
        tries.append(1)
        if len(tries) < 3:
            raising = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"
            connection.execute(text(raising))
        return "done"

    assert written(parse_url(url), work) == "done"
    tries.clear()
    with pytest.raises(Transient):
        written(parse_url(url), lambda c: c.execute(text("SELECT 1 / 0")))
