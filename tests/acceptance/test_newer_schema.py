"""What a newer Skerry wrote is refused by an older one, in a plain sentence, and not touched."""

import asyncio
import contextlib
import sqlite3
import sys
from pathlib import Path

import psycopg
import pytest
from tests.hub_backups import hub_settings_at
from tests.postgres import Postgres

from skerry.hub import maintenance
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.node.store.opening import opened


async def refused(*words: str) -> str:
    """What a program says that must not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode not in {0, None}
    text = out.decode()
    assert "Traceback" not in text
    return " ".join(text.split())


@pytest.mark.guarantee("G6")
@pytest.mark.parametrize("sealed", ["false", "true"])
async def test_a_node_refuses_a_newer_store(short_dir: Path, sealed: str) -> None:
    async with opened(short_dir, "n1", SystemClock(), RealDisk()):
        pass
    database = short_dir / "node.db"
    with contextlib.closing(sqlite3.connect(database)) as db:
        known = int(db.execute("PRAGMA user_version").fetchone()[0])
        db.execute("PRAGMA user_version = 9999")
    before = database.read_bytes()
    said = await refused(
        "skerry.node", "--data-dir", str(short_dir), "--set", "api.port=0",
        "--set", f"encryption.storage.enabled={sealed}",
    )  # fmt: skip
    assert f"schema 9999, this build knows {known}. Install the newer Skerry again" in said
    assert database.read_bytes() == before
    assert list(short_dir.glob("*.damaged*")) == []


@pytest.mark.guarantee("G6")
async def test_a_hub_refuses_a_newer_sqlite(short_dir: Path) -> None:
    database = short_dir / "hub.db"
    known = await _made(f"sqlite:///{database}")
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.read_bytes()
    said = await refused(*_hub(short_dir))
    assert f"schema 9999, this build knows {known}. Install the newer Skerry again" in said
    assert database.read_bytes() == before
    with pytest.raises(Refused, match=r"schema 9999, this build knows .*Install the newer Skerry"):
        maintenance.back_up(hub_settings_at(short_dir), None, SystemClock())


@pytest.mark.guarantee("G6")
@pytest.mark.postgres
async def test_a_hub_refuses_a_newer_postgresql(short_dir: Path, postgres: Postgres) -> None:
    with postgres.database() as url:
        known = await _made(url)
        with psycopg.connect(url) as db:
            db.execute("UPDATE alembic_version SET version_num = '9999'")
        config = short_dir / "hub.yaml"
        config.write_text(f"database: {url}\n")
        said = await refused(*_hub(short_dir), "--config", str(config))
        with psycopg.connect(url) as db:
            row = db.execute("SELECT version_num FROM alembic_version").fetchone()
        assert row == ("9999",)
    assert f"schema 9999, this build knows {known}. Install the newer Skerry again" in said


async def _made(url: str) -> str:
    """A database of this build; returns its version."""
    store = HubStore(url, SystemClock())
    store.start()
    try:
        sql = "SELECT version_num FROM alembic_version"
        return await store.read(lambda db: str(db.exec_driver_sql(sql).scalar()))
    finally:
        store.stop()


def _hub(directory: Path) -> tuple[str, ...]:
    where = ("--data-dir", str(directory), "--listen", "127.0.0.1:0")
    return ("skerry.cli.main", "hub", "run", *where)
