"""Real nodes that are started with documented files."""

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.installation import Node
from tests.ports import free_port

from skerry.kit.disk import RealDisk
from skerry.node.identity import Identity, write_identity
from skerry.testing.waiting import eventually

SAMPLES = Path(__file__).parents[1] / "fixtures" / "documented"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    told: str


async def ended(*words: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )  # fmt: skip
    output, _ = await process.communicate()
    return Ended(process.returncode, output.decode())


def without_protection(directory: Path) -> list[str]:
    """The five files, as somebody changes them who knows that protection is missing, with a place of its own."""
    words = []
    for file in sorted(SAMPLES.glob("*.yaml")):
        text = file.read_text()
        text = text.replace("enabled: true", "enabled: false").replace("secure_boot: true", "secure_boot: false")  # fmt: skip
        text = text.replace("encryption: true", "encryption: false").replace("method: certificate", "method:")  # fmt: skip
        text = text.replace("/data/meta-agent-edge.db", str(directory / "db" / "meta-agent-edge.db"))  # fmt: skip
        head, _, roles = text.partition("    roles:\n")
        text = head + roles.partition("attestation:")[1] + roles.partition("attestation:")[2]
        (directory / file.name).write_text(text)
        words += ["--config", str(directory / file.name)]
    return words


@pytest.fixture
async def node(tidy_dir: Path) -> AsyncIterator[Node]:
    node = Node(tidy_dir, "n1", "http://127.0.0.1:1")
    yield node
    if node.process.runs:
        await node.process.end(signal.SIGKILL)
    node.clean()


async def test_the_printed_files_start_nothing_while_protection_is_missing(tmp_path: Path) -> None:
    files = [word for name in ("edge-config", "edge-security") for word in ("--config", str(SAMPLES / f"{name}.yaml"))]  # fmt: skip
    node_dir = str(tmp_path / "n")
    refused = await ended("skerry.cli.main", "node", "run", "--data-dir", node_dir, *files)
    assert refused.code == 2
    assert "cannot start the node: its settings ask for protection" in refused.told
    assert (
        f"attestation (attestation.enabled: true, {SAMPLES}/edge-security.yaml:26)" in refused.told
    )
    words = ["--data-dir", str(tmp_path / "h"), "--config", str(SAMPLES / "edge-security.yaml")]
    refused = await ended("skerry.cli.main", "hub", "run", *words)
    assert refused.code == 2
    assert "cannot start the hub: its settings ask for protection" in refused.told
    assert not any(tmp_path.iterdir())


async def test_a_node_runs_by_all_five_with_its_database_where_they_say(
    node: Node, tidy_dir: Path
) -> None:
    files = without_protection(tidy_dir)
    node.options += files
    await node.start()
    await node.ready()
    told = node.log.read_text()
    assert "agent «text-classifier-lite»" in told
    assert "settings have no effect yet" in told
    database = tidy_dir / "db" / "meta-agent-edge.db"
    assert not (node.directory / "node.db").exists()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    checked = await ended("skerry.cli.main", "db", "verify-schema", *files)
    assert (checked.code, checked.told.splitlines()[0]) == (0, f"{database}: nothing is missing")
    other = ["--data-dir", str(tidy_dir / "n2"), "--set", "api.port=0", *files]
    second = await ended("skerry.node", *other)
    assert second.code == 1
    assert "another node process has it" in second.told
    assert await node.process.end() == 0


@pytest.mark.parametrize("choice", ["runtime.offline_mode=always", "runtime.mode=standalone"])
async def test_a_node_that_is_to_stay_alone_never_calls_its_hub(node: Node, choice: str) -> None:
    callers = 0

    def called(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal callers
        callers += 1
        writer.close()

    port = free_port()
    async with await asyncio.start_server(called, "127.0.0.1", port):
        node.directory.mkdir(mode=0o700)
        url = f"http://127.0.0.1:{port}"
        write_identity(node.directory, Identity("id", "n1", {}, url, "h"), "s", RealDisk())
        node.options += ["--set", f"hub.url={url}", "--set", choice]
        await node.start()
        await node.ready()
        status = await node.status()
        assert status is not None
        assert (status.link.state, status.link.cause) == (
            "standalone",
            "the settings say so (runtime.mode, runtime.offline_mode)",
        )
        assert await node.process.end() == 0
        assert callers == 0
        node.options[-1] = "runtime.offline_mode=auto"
        await node.start()
        await eventually(lambda: callers > 0, "without the setting it calls")
