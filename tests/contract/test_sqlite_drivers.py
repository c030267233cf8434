"""Both SQLite drivers, the stdlib's and apsw's, do what the stores build on, and fail with the same errors."""

import contextlib
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.kit.disk import RealDisk
from skerry.kit.errors import Corrupt, Transient
from skerry.kit.sqlite import SqliteWriter, StateTooNew, migrate, read_queries
from skerry.kit.sqlite_connections import Driver, classify, connect, stdlib_driver
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.power_cut import Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import power_cut_vfs

SCHEMA = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB) STRICT;"


@pytest.fixture(params=["stdlib", "apsw"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return stdlib_driver if request.param == "stdlib" else ApswDriver()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def db(path: Path, driver: Driver) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(path, driver=driver)) as connection:
        connection.execute(SCHEMA)
        yield connection


def names(db: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in db.execute("SELECT name FROM item ORDER BY id")]


def failure(db: sqlite3.Connection, sql: str, *values: object) -> sqlite3.Error:
    with pytest.raises(sqlite3.Error) as caught:
        db.execute(sql, values).fetchall()
    return caught.value


def test_transactions_are_explicit(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO item (name) VALUES ('at once')")
    assert not db.in_transaction
    db.execute("BEGIN IMMEDIATE")
    assert db.in_transaction
    db.execute("INSERT INTO item (name) VALUES ('undone')")
    db.execute("ROLLBACK")
    assert not db.in_transaction
    assert names(db) == ["at once"]


def test_a_savepoint_takes_back_its_own_part_only(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("INSERT INTO item (name) VALUES ('first')")
    db.execute("SAVEPOINT job")
    db.execute("INSERT INTO item (name) VALUES ('second')")
    db.execute("ROLLBACK TO job")
    db.execute("RELEASE job")
    db.execute("COMMIT")
    assert names(db) == ["first"]


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1, -(2**63), 0, True, "", "é \u2028 \0 \U0001f600", b"", b"\0\xff" * 3, memoryview(b"view"), None,
        1.5, -0.0, float("inf"),
    ],
    ids=lambda value: "view" if isinstance(value, memoryview) else ascii(value),  # a view's repr is its address
)  # fmt: skip
def test_values_come_back_as_they_went(db: sqlite3.Connection, value: object) -> None:
    [row] = db.execute("SELECT ?1 AS one, typeof(?1) AS kind", (value,))
    found = row["one"]
    assert found == (bytes(value) if isinstance(value, memoryview) else value)
    kinds = {bool: "integer", int: "integer", str: "text", float: "real", type(None): "null"}
    assert row["kind"] == kinds.get(type(value), "blob")
    assert type(found) is (
        int if value is True else bytes if row["kind"] == "blob" else type(value)
    )


def test_not_a_number_is_null(db: sqlite3.Connection) -> None:
    assert db.execute("SELECT ?", (float("nan"),)).fetchone()[0] is None


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_refused(db: sqlite3.Connection, value: int) -> None:
    with pytest.raises(OverflowError):
        db.execute("SELECT ?", (value,))


@pytest.mark.parametrize(
    ("sql", "values"),
    [("SELECT ?, ?", (1,)), ("SELECT :a", {"b": 1}), ("SELECT ?", (object(),))],
    ids=["too-few", "no-such-name", "no-such-type"],
)
def test_bindings_that_do_not_fit_are_the_programs_fault(
    db: sqlite3.Connection, sql: str, values: object
) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        db.execute(sql, values)  # type: ignore[arg-type]


def test_a_row_is_known_by_place_and_by_name(db: sqlite3.Connection) -> None:
    row = db.execute("SELECT 1 AS one, 'x' AS two").fetchone()
    assert (row[0], row["one"], row["TWO"], row[-1]) == (1, 1, "x", "x")
    assert (tuple(row), dict(row), list(row.keys())) == (
        (1, "x"),
        {"one": 1, "two": "x"},
        ["one", "two"],
    )
    with pytest.raises(IndexError):
        row["three"]
    assert len(db.execute("SELECT 1 WHERE 0").fetchall()) == 0
    assert db.execute("SELECT 1 WHERE 0").fetchone() is None


def test_rows_are_taken_in_portions(db: sqlite3.Connection) -> None:
    db.executemany("INSERT INTO item (name) VALUES (?)", [(f"n{n}",) for n in range(5)])
    cursor = db.execute("SELECT id FROM item ORDER BY id")
    assert [row[0] for row in cursor.fetchmany(2)] == [1, 2]
    assert cursor.fetchone()[0] == 3
    assert [row[0] for row in cursor] == [4, 5]
    assert cursor.fetchall() == []


def test_a_cursor_counts_what_it_changed(db: sqlite3.Connection) -> None:
    many = db.executemany("INSERT INTO item (name) VALUES (?)", [("a",), ("b",)])
    assert many.rowcount == 2
    assert db.execute("UPDATE item SET body = x'00'").rowcount == 2
    assert db.execute("DELETE FROM item WHERE name = 'none'").rowcount == 0
    assert db.execute("SELECT * FROM item").rowcount == -1


def test_rows_returned_by_a_change(db: sqlite3.Connection) -> None:
    found = db.execute("INSERT INTO item (name) VALUES ('a') RETURNING id, name").fetchall()
    assert [tuple(row) for row in found] == [(1, "a")]


def test_a_constraint_says_which_one(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO item (name) VALUES ('a')")
    unique = failure(db, "INSERT INTO item (name) VALUES ('a')")
    assert isinstance(unique, sqlite3.IntegrityError)
    assert unique.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    assert "UNIQUE constraint failed: item.name" in str(unique)
    null = failure(db, "INSERT INTO item (name) VALUES (NULL)")
    assert null.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_NOTNULL
    kind = failure(db, "INSERT INTO item (name) VALUES (x'00')")
    assert isinstance(kind, sqlite3.IntegrityError)


def test_foreign_keys_hold(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE part (item INTEGER REFERENCES item(id))")
    error = failure(db, "INSERT INTO part VALUES (7)")
    assert isinstance(error, sqlite3.IntegrityError)
    assert error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY


def test_a_busy_database_is_tried_again_later(
    db: sqlite3.Connection, path: Path, driver: Driver
) -> None:
    with contextlib.closing(connect(path, driver=driver)) as other:
        other.execute("PRAGMA busy_timeout = 1")
        db.execute("BEGIN IMMEDIATE")
        error = failure(other, "BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    assert isinstance(error, sqlite3.OperationalError)
    assert error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    assert isinstance(classify(error, path), Transient)


def test_a_full_database_asks_for_room(db: sqlite3.Connection, path: Path) -> None:
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    error = failure(db, "INSERT INTO item (name, body) VALUES ('big', zeroblob(100000))")
    assert isinstance(error, sqlite3.OperationalError)
    assert error.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert "the disk is full" in str(classify(error, path))


def test_a_file_that_is_no_database_is_corrupt(path: Path, driver: Driver) -> None:
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(Corrupt):
        connect(path, driver=driver)


def test_a_damaged_page_is_corrupt(path: Path, driver: Driver) -> None:
    with contextlib.closing(connect(path, driver=driver)) as db:
        db.execute(SCHEMA)
        rows = [(f"n{n}", b"x" * 3000) for n in range(50)]
        db.executemany("INSERT INTO item (name, body) VALUES (?, ?)", rows)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with contextlib.closing(connect(path, driver=driver)) as db:
        error = failure(db, "SELECT * FROM item")
    assert isinstance(error, sqlite3.DatabaseError)
    assert isinstance(classify(error, path), Corrupt)


def test_a_wrong_statement_is_the_statements_fault(db: sqlite3.Connection) -> None:
    for sql in ("SELEC 1", "SELECT * FROM nothing"):
        error = failure(db, sql)
        assert isinstance(error, sqlite3.OperationalError)
        assert error.sqlite_errorcode == sqlite3.SQLITE_ERROR


def test_a_reader_cannot_write(db: sqlite3.Connection, path: Path, driver: Driver) -> None:
    with contextlib.closing(connect(path, read_only=True, driver=driver)) as reader:
        error = failure(reader, "INSERT INTO item (name) VALUES ('a')")
        assert isinstance(error, sqlite3.OperationalError)
        assert error.sqlite_errorcode == sqlite3.SQLITE_READONLY
    with pytest.raises(Transient):
        connect(path.with_name("none.db"), read_only=True, driver=driver)


def test_a_closed_connection_is_the_programs_fault(path: Path, driver: Driver) -> None:
    db = connect(path, driver=driver)
    db.close()
    assert isinstance(failure(db, "SELECT 1"), sqlite3.ProgrammingError)


def test_a_reader_sees_one_moment(db: sqlite3.Connection, path: Path, driver: Driver) -> None:
    with contextlib.closing(connect(path, read_only=True, driver=driver)) as reader:
        reader.execute("BEGIN")
        assert names(reader) == []
        db.execute("INSERT INTO item (name) VALUES ('later')")
        assert names(reader) == []
        reader.execute("COMMIT")
        assert names(reader) == ["later"]


def test_named_queries(db: sqlite3.Connection, tmp_path: Path) -> None:
    file = tmp_path / "queries.sql"
    file.write_text(
        "-- name: put\nINSERT INTO item (name, body) VALUES (:name, :body);\n"
        "-- name: one\nSELECT body FROM item WHERE name = :name;\n"
    )
    sql = read_queries(file)
    db.execute(sql["put"], {"name": "a", "body": b"1", "more": "is fine"})
    db.executemany(sql["put"], [{"name": "b", "body": b"2"}, {"name": "c", "body": b"3"}])
    assert db.execute(sql["one"], {"name": "c"}).fetchone()["body"] == b"3"


def test_migrations_count_in_the_file(path: Path, driver: Driver) -> None:
    first, second = "CREATE TABLE a (x);\nCREATE TABLE b (x);", "ALTER TABLE a ADD COLUMN y;"
    with contextlib.closing(connect(path, driver=driver)) as db:
        migrate(db, [first], path)
        migrate(db, [first, second], path)
        assert db.execute("PRAGMA user_version").fetchone()[0] == 2
        db.execute("INSERT INTO a (x, y) VALUES (1, 2)")
        with pytest.raises(StateTooNew, match="schema 2, this build knows 1"):
            migrate(db, [first], path)


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, driver: Driver) -> None:
    with contextlib.closing(connect(path, driver=driver)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, ["CREATE TABLE a (x);\nCREATE TABLE a (x);"], path)
        if db.in_transaction:
            db.execute("ROLLBACK")
        assert db.execute("PRAGMA user_version").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0


def test_a_backup_is_the_database_of_one_moment(
    db: sqlite3.Connection, tmp_path: Path, driver: Driver
) -> None:
    db.executemany(
        "INSERT INTO item (name, body) VALUES (?, zeroblob(9000))",
        [(f"n{n}",) for n in range(20)],
    )
    target = tmp_path / "copy.db"
    with contextlib.closing(connect(target, driver=driver)) as copy:
        db.backup(copy, pages=3)
        db.execute("INSERT INTO item (name) VALUES ('later')")
        assert names(copy) == names(db)[:-1]
        assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_the_log_is_emptied_when_nobody_reads(
    db: sqlite3.Connection, path: Path, driver: Driver
) -> None:
    wal = path.with_name("test.db-wal")
    db.execute("INSERT INTO item (name) VALUES ('a')")
    with contextlib.closing(connect(path, read_only=True, driver=driver)) as reader:
        reader.execute("BEGIN")
        assert names(reader) == ["a"]
        db.execute("INSERT INTO item (name) VALUES ('b')")
        db.execute("PRAGMA busy_timeout = 1")
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (busy, wal.stat().st_size > 0) == (1, True)
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, wal.stat().st_size) == (0, 0)


def test_a_long_statement_is_interrupted(db: sqlite3.Connection) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    caught: list[sqlite3.Error] = []
    running = threading.Thread(target=lambda: caught.append(failure(db, endless)))
    running.start()
    while running.is_alive():
        db.interrupt()
        running.join(0.01)
    [error] = caught
    assert isinstance(error, sqlite3.OperationalError)
    assert error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
    assert db.execute("SELECT 1").fetchone()[0] == 1


async def test_the_writer_groups_its_jobs(path: Path, driver: Driver) -> None:
    writer = SqliteWriter(path, [SCHEMA], RealDisk(), driver)
    writer.start()
    try:
        sql = "INSERT INTO item (name) VALUES (?)"
        assert await writer.run(lambda db: db.execute(sql, ("a",)).rowcount, label="put") == 1
        with pytest.raises(sqlite3.IntegrityError):
            await writer.run(lambda db: db.execute(sql, ("a",)), label="put")
        futures = [
            writer.submit(lambda db, n=n: db.execute(sql, (str(n),)).rowcount, label="put")
            for n in range(20)
        ]
        assert sum(future.result() for future in futures) == 20
        await writer.compact()
        with contextlib.closing(writer.reader()) as reader:
            assert len(names(reader)) == 21
    finally:
        writer.stop()
    assert path.with_name("test.db-wal").exists()  # it holds room for a full disk


@pytest.mark.guarantee("G1")
async def test_an_answer_covers_what_was_committed_before(memory_dir: Path) -> None:
    """A durable job that writes nothing: key rotation destroys old keys on the word of one."""
    volume = Volume(memory_dir, random.Random(1), fates=("lost",))
    with power_cut_vfs(volume) as vfs:
        writer = SqliteWriter(
            memory_dir / "test.db", [SCHEMA], PowerCutDisk(volume), ApswDriver(vfs)
        )
        writer.start()
        try:
            sql = "INSERT INTO item (name) VALUES ('a')"
            await writer.run(lambda db: db.execute(sql).rowcount, label="soft", durable=False)
            await writer.run(lambda db: len(names(db)), label="look", durable=True)
            volume.cut_after(1)
            await writer.run(lambda db: db.execute("DELETE FROM item").rowcount, label="after")
        finally:
            writer.stop()
    assert volume.cut is not None
    volume.cut.restore(memory_dir / "after")
    with contextlib.closing(connect(memory_dir / "after" / "test.db")) as db:
        assert names(db) == ["a"]
