"""The tables of the edge-infrastructure document in the node's database: what is there, and what their status says."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.sync_rig import MIGRATIONS, NodeRig, passing

from skerry.cli.main import main
from skerry.core.entities import ENTITIES, Entity
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput
from skerry.kit.sqlite import SqliteWriter
from skerry.kit.sqlite_connections import connect
from skerry.node.store.documented_schema import printed_script, verify
from skerry.testing.fake_hub import FakeHub
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

TABLES = ["workflows", "workflow_executions", "agents", "agent_executions", "sync_log"]


def new_store(path: Path) -> None:
    writer = SqliteWriter(path, MIGRATIONS, RealDisk())
    writer.start()
    writer.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    new_store(tmp_path / "node.db")
    with contextlib.closing(connect(tmp_path / "node.db")) as connection:
        yield connection


def missing(database: sqlite3.Connection, script: str | None = None) -> list[str]:
    reports = verify(database, script or printed_script())
    return [word for report in reports for word in report.missing]


def test_the_printed_script_finds_nothing_missing(database: sqlite3.Connection) -> None:
    assert [report.name for report in verify(database, printed_script())] == TABLES
    assert missing(database) == []
    before = database.execute("SELECT sql FROM sqlite_schema ORDER BY rowid").fetchall()
    script = printed_script().replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
    database.executescript(script.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"))
    assert database.execute("SELECT sql FROM sqlite_schema ORDER BY rowid").fetchall() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP INDEX idx_workflows_sync_status", "no index idx_workflows_sync_status on sync_status"),
        ("DROP TABLE sync_log", "there is no table sync_log"),
        ("ALTER TABLE sync_log DROP COLUMN details", "column details is missing, not TEXT"),
        ("ALTER TABLE agents RENAME COLUMN config TO settings", "column config is missing, not TEXT NOT NULL"),
        ("DROP INDEX idx_agent_executions_agent_id; CREATE INDEX idx_agent_executions_agent_id ON agent_executions (status)",
         "no index idx_agent_executions_agent_id on agent_id"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told(database: sqlite3.Connection, change: str, told: str) -> None:
    database.executescript(change)
    assert missing(database) == [told]


def test_columns_of_our_own_are_no_fault(database: sqlite3.Connection) -> None:
    database.execute("ALTER TABLE workflows ADD COLUMN rev INTEGER NOT NULL DEFAULT 0")
    assert missing(database) == []


@pytest.mark.parametrize("script", ["ATTACH '{}' AS x; CREATE TABLE x.t (a)", "VACUUM INTO '{}'"])
def test_a_script_writes_nowhere(database: sqlite3.Connection, tmp_path: Path, script: str) -> None:
    outside = tmp_path / "outside.db"
    with pytest.raises(InvalidInput, match="cannot run the script"):
        verify(database, script.format(outside))
    assert not outside.exists()


def test_a_missing_foreign_key_is_told(database: sqlite3.Connection) -> None:
    script = "CREATE TABLE sync_log (id TEXT PRIMARY KEY, entity_id TEXT NOT NULL REFERENCES agents(id));"
    assert missing(database, f"CREATE TABLE agents (id TEXT PRIMARY KEY);{script}") == [
        "no foreign key (entity_id) to agents(id)"
    ]


def test_a_file_in_which_the_script_was_run_first_opens(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as database:
        database.executescript(printed_script())
        database.execute("INSERT INTO agents VALUES ('a', 'n', 'edge', '{}', '1', 't', 't', 'pending', NULL)")  # fmt: skip
        database.commit()
    new_store(tmp_path / "node.db")
    with contextlib.closing(connect(tmp_path / "node.db")) as opened:
        assert missing(opened) == []
        assert [row["id"] for row in opened.execute("SELECT id FROM agents")] == ["a"]


def test_no_orphans_and_no_unknown_status(database: sqlite3.Connection) -> None:
    workflow = "INSERT INTO workflows (id, name, definition, version, created_at, updated_at, sync_status) VALUES ('w', 'n', '{}', ?, 't', 't', ?)"
    execution = "INSERT INTO workflow_executions (id, workflow_id, status, started_at) VALUES ('e', 'w', 'queued', 't')"
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        database.execute(execution)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        database.execute(workflow, ("1", "sent"))
    database.execute(workflow, ("1", "pending"))
    database.execute(execution)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        database.execute("DELETE FROM workflows")
    again = workflow.replace("'w'", "'w2'")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        database.execute(again, ("1", "pending"))
    database.execute(again, ("2", "pending"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["db", "verify-schema", "--data-dir", str(tmp_path)]
    assert main(words) == 1
    assert "there is no such file" in capsys.readouterr().err
    new_store(tmp_path / "node.db")
    assert main([*words, "-o", "json"]) == 0
    assert [table["missing"] for table in json.loads(capsys.readouterr().out)] == [[]] * 5
    script = tmp_path / "own.sql"
    script.write_text("CREATE TABLE more (id TEXT PRIMARY KEY);")
    assert main(["db", "verify-schema", str(script), "--data-dir", str(tmp_path)]) == 1
    assert "there is no table more" in capsys.readouterr().out
    script.write_text("CREATE TABEL x;")
    assert main(["db", "verify-schema", str(script), "--data-dir", str(tmp_path)]) == 2
    assert "cannot run the script" in capsys.readouterr().err
    (tmp_path / "node.yaml").write_text(f"storage: {{path: {tmp_path}/elsewhere.db}}\n")
    (tmp_path / "node.db").rename(tmp_path / "elsewhere.db")
    assert main(words) == 0


@pytest.fixture
async def node(
    tmp_path: Path, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[NodeRig]:
    for name in ("workflow", "agent_execution"):
        monkeypatch.setitem(ENTITIES, name, Entity(name, writer="node", strategy="last_modified"))
    node = NodeRig(tmp_path / "node", FakeHub(), manual_clock)
    await node.start()
    task = asyncio.create_task(passing(manual_clock))
    yield node
    task.cancel()
    await asyncio.wait([task])
    await node.stop()


async def test_the_sync_status_follows_a_row_to_the_hub(node: NodeRig) -> None:
    path = node.directory / "node.db"
    with contextlib.closing(connect(path)) as database:
        database.execute("INSERT INTO workflows (id, name, definition, version, created_at, updated_at) VALUES ('w', 'n', '{}', '1', 't', 't')")  # fmt: skip

        def status() -> tuple[str, bool]:
            row = database.execute("SELECT sync_status, last_synced_at FROM workflows").fetchone()
            return row["sync_status"], row["last_synced_at"] is not None

        assert status() == ("pending", False)
        await node.store.put("workflow", "w", b"{}")
        await node.store.freeze(10)
        assert status() == ("syncing", False)
        node.sync_on()
        await eventually(lambda: status() == ("synced", True), "the hub has it")
        await node.sync_off()
        await node.store.put("workflow", "w", b'{"name": "m"}')
        assert status() == ("pending", True)
        await node.store.freeze(10)
        await node.store.put("workflow", "w", b'{"name": "l"}')
        assert status() == ("pending", True)
        node.sync_on()
        await eventually(lambda: status() == ("synced", True), "the hub has the newest")
        assert await node.store.unsent() == 0
