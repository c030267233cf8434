"""The hub's store on SQLite and PostgreSQL: writing, reading, schema, and what it refuses to open."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, select, text, update
from sqlalchemy.exc import IntegrityError
from tests.hub_rig import HubRig
from tests.postgres import Postgres

from skerry.hub.store import changes
from skerry.hub.store.engine import parse_url
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import change, fact, log, metadata
from skerry.kit.errors import Corrupt, InvalidInput, Refused, Transient
from skerry.kit.sqlite import StateTooNew
from skerry.testing.manual_clock import ManualClock


def put(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(fact.insert(), {"name": name, "value": "x"})
        return name

    return work


def names(connection: Connection) -> set[str]:
    return set(connection.execute(select(fact.c.name)).scalars())


def scalar(sql: str) -> Callable[[Connection], object]:
    return lambda connection: connection.exec_driver_sql(sql).scalar()


async def test_what_was_written_is_read(hub: HubRig) -> None:
    assert await hub.store.write(put("a")) == "a"
    assert "a" in await hub.store.read(names)


async def test_a_failing_job_takes_nothing_else_of_its_group_with_it(hub: HubRig) -> None:
    def half(connection: Connection) -> None:
        put("half")(connection)
        raise Refused("no")

    def twice(connection: Connection) -> None:
        put("twice")(connection)
        put("twice")(connection)

    first, held, refused, doubled, last = await asyncio.gather(
        *(hub.store.write(work) for work in (put("first"), _hold, half, twice, put("last"))),
        return_exceptions=True,
    )
    assert (first, held, last) == ("first", None, "last")
    assert isinstance(refused, Refused)
    assert isinstance(doubled, IntegrityError)
    assert {"first", "last"} <= await hub.store.read(names)
    assert not {"half", "twice"} & await hub.store.read(names)


def _hold(_: Connection) -> None:
    """Keeps the writer busy long enough for later jobs to form one group."""
    threading.Event().wait(0.05)


async def test_what_no_column_holds_is_an_input_that_is_wrong(hub: HubRig) -> None:
    too_large = update(log).values(seq=2**70)
    refused, last = await asyncio.gather(
        hub.store.write(lambda connection: connection.execute(too_large)),
        hub.store.write(put("last")),
        return_exceptions=True,
    )
    assert isinstance(refused, InvalidInput)
    assert last == "last"
    if not hub.store.shared:  # PostgreSQL compares with any number
        after = select(change).where(change.c.seq > 2**70)
        with pytest.raises(InvalidInput, match="too large"):
            await hub.store.read(lambda connection: connection.execute(after).all())


@pytest.mark.guarantee("G9")
async def test_what_a_statement_was_given_is_in_no_message(hub: HubRig) -> None:
    await hub.store.write(put("the name"))
    twice = fact.insert().values(name="the name", value="the secret")
    with pytest.raises(IntegrityError) as raised:
        await hub.store.write(lambda connection: connection.execute(twice))
    assert "the secret" not in str(raised.value)


async def test_readers_cannot_write_and_keep_their_snapshot(hub: HubRig) -> None:
    with pytest.raises(Exception, match=r"read-?only"):
        await hub.store.read(put("from a reader"))
    seen = threading.Event()
    written = threading.Event()

    def twice(connection: Connection) -> tuple[bool, bool]:
        before = "later" in names(connection)
        seen.set()
        assert written.wait(10)
        return before, "later" in names(connection)

    reading = asyncio.create_task(hub.store.read(twice))
    assert await asyncio.to_thread(seen.wait, 10)
    _ = await hub.store.write(put("later"))
    written.set()
    assert await reading == (False, False)


async def test_identity_is_made_once(hub: HubRig, manual_clock: ManualClock) -> None:
    facts = hub.store.facts
    assert len(facts.cursor_key) == 32
    again = HubStore(hub.url, manual_clock, encryption=hub.encryption)
    again.start()
    assert again.facts == facts
    again.stop()


async def test_the_migrations_make_the_schema_of_tables_py(hub: HubRig) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, _: kind != "table" or name[:7] != "record_"}
        context = MigrationContext.configure(connection, opts=options)  # less the partitions
        return compare_metadata(context, metadata)

    assert await hub.store.read(differences) == []


@pytest.mark.guarantee("G6")
async def test_a_newer_database_is_refused_and_left_alone(
    hub: HubRig, manual_clock: ManualClock
) -> None:
    await hub.store.write(scalar("UPDATE alembic_version SET version_num = '9999' RETURNING 1"))
    with pytest.raises(StateTooNew, match=r"schema 9999, this build knows 0\d{3}\."):
        HubStore(hub.url, manual_clock).start()
    assert await hub.store.read(scalar("SELECT version_num FROM alembic_version")) == "9999"


async def test_a_database_of_something_else_is_refused(
    empty_database_url: str, manual_clock: ManualClock
) -> None:
    engine = create_engine(parse_url(empty_database_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE node (id TEXT)"))
    engine.dispose()
    with pytest.raises(Refused, match="tables of something else"):
        HubStore(empty_database_url, manual_clock).start()


async def test_numbers_are_allotted_in_order_and_an_undone_job_gives_its_numbers_back(
    hub: HubRig,
) -> None:
    def take_and_fail(connection: Connection) -> None:
        changes.allot(connection, 10)
        raise Refused("no")

    first = await hub.store.write(lambda connection: changes.allot(connection, 3))
    with pytest.raises(Refused):
        await hub.store.write(take_and_fail)
    assert await hub.store.write(changes.allot) == first + 3


async def test_pruning_keeps_the_newest_change_of_every_row(hub: HubRig) -> None:
    def fill(connection: Connection) -> None:
        for at, row in enumerate("abaab", 1):
            seq = changes.allot(connection)
            changes.append(connection, [changes.Change(seq, "n1", "assignment", row, "hub")], at)

    def prune(connection: Connection) -> tuple[int, list[int], changes.Log]:
        removed = changes.prune(connection, before=5, limit=100)
        left = connection.execute(select(change.c.seq).order_by(change.c.seq)).scalars().all()
        return removed, list(left), changes.read_log(connection)

    await hub.store.write(fill)
    removed, left, log = await hub.store.write(prune)
    # 1 and 3 were superseded by 4 in time; 2 was superseded by 5, but not before the limit
    assert (removed, left, log) == (2, [2, 4, 5], changes.Log(1, 5, 3))


def test_only_known_databases_are_accepted() -> None:
    for address in ("mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "not an address"):
        with pytest.raises(InvalidInput):
            parse_url(address)


async def test_a_password_is_not_in_messages(manual_clock: ManualClock) -> None:
    with pytest.raises(Exception, match="cannot use postgresql") as failure:
        HubStore("postgresql://hub:s3cret@127.0.0.1:1/none", manual_clock).start()
    assert "s3cret" not in str(failure.value)


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "hub.db"

    async def test_the_file_is_private_and_commits_are_durable(
        self, path: Path, manual_clock: ManualClock
    ) -> None:
        store = HubStore(f"sqlite:///{path}", manual_clock)
        store.start()
        assert await store.write(scalar("PRAGMA synchronous")) == 2
        assert await store.write(scalar("PRAGMA journal_mode")) == "wal"
        assert await store.write(scalar("PRAGMA foreign_keys")) == 1
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
        assert set(modes.values()) == {"0o600"}, modes
        store.stop()

    @pytest.mark.guarantee("G6")
    @pytest.mark.parametrize("damage", ["not a database", "torn schema"])
    async def test_a_corrupt_file_is_an_error_and_is_left_alone(
        self, path: Path, manual_clock: ManualClock, damage: str
    ) -> None:
        store = HubStore(f"sqlite:///{path}", manual_clock)
        store.start()
        store.stop()
        data = bytearray(path.read_bytes())
        if damage == "torn schema":
            data[100:4096] = os.urandom(3996)
        else:
            data = bytearray(b"hello " * 2000)
        path.write_bytes(data)
        with pytest.raises(Corrupt, match=f"cannot read {path}.*put a backup in its place"):
            HubStore(f"sqlite:///{path}", manual_clock).start()
        assert path.read_bytes() == data

    @pytest.mark.guarantee("G6")
    async def test_damage_that_is_found_later_is_said_too(
        self, path: Path, manual_clock: ManualClock
    ) -> None:
        store = HubStore(f"sqlite:///{path}", manual_clock)
        store.start()
        await store.write(
            lambda c: c.execute(
                fact.insert(), [{"name": f"f{i}", "value": "x" * 500} for i in range(200)]
            )
        )
        store.stop()
        with sqlite3.connect(path) as connection:
            root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'fact'")
            page = int(root.fetchone()[0])
        connection.close()
        data = bytearray(path.read_bytes())
        data[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
        path.write_bytes(data)
        with pytest.raises(Corrupt, match="put a backup in its place"):
            HubStore(f"sqlite:///{path}", manual_clock).start()

    async def test_a_full_disk_fails_the_group_whole_and_later_ones_go_on(
        self, path: Path, manual_clock: ManualClock
    ) -> None:
        store = HubStore(f"sqlite:///{path}", manual_clock)
        store.start()
        pages = await store.write(scalar("PRAGMA page_count"))
        await store.write(scalar(f"PRAGMA max_page_count = {pages}"))
        big = [{"name": f"f{i}", "value": "x" * 1000} for i in range(50)]
        results = await asyncio.gather(
            *(
                store.write(work)
                for work in (_hold, put("small"), lambda c: c.execute(fact.insert(), big))
            ),
            return_exceptions=True,
        )
        assert isinstance(results[2], Transient)
        held = await store.read(names)
        assert not {"f0", "f49"} & held
        assert ("small" in held) == (results[1] == "small")
        await store.write(scalar("PRAGMA max_page_count = 1000000"))
        await store.write(put("after"))
        assert "after" in await store.read(names)
        store.stop()

    async def test_a_missing_directory_is_one_sentence(
        self, tmp_path: Path, manual_clock: ManualClock
    ) -> None:
        with pytest.raises(Refused, match="Create the directory"):
            HubStore(f"sqlite:///{tmp_path}/none/hub.db", manual_clock).start()


@pytest.mark.postgres
async def test_a_lost_connection_is_transient_and_made_again(
    postgres: Postgres, manual_clock: ManualClock
) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with postgres.database() as url:
        store = HubStore(url, manual_clock)
        store.start()
        await store.write(put("before"))
        await store.read(names)
        with psycopg.connect(url) as connection:
            connection.execute(cut)
        with pytest.raises(Transient, match="cannot use postgresql"):
            await store.write(put("lost"))
        with pytest.raises(Transient, match="cannot use postgresql"):
            await store.read(names)
        await store.write(put("after"))
        held = await store.read(names)
        assert {"before", "after"} <= held
        assert "lost" not in held
        store.stop()
