"""Models from a person's file to a running workload: pushed, fetched, seen, changed, damaged, cut, killed."""

import signal
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Node, installation
from tests.model_cases import content, sha256

from skerry.node.models.layout import models_root
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually
from skerry.wire.workload import ProcessSpec, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

READER = """
import hashlib, os, pathlib, signal
for path in sorted(pathlib.Path(os.environ["SKERRY_MODELS"]).glob("*/*.onnx")):
    print("sees", path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest()[:8], flush=True)
signal.pause()
"""


def reader(name: str = "reader", **fields: object) -> WorkloadSpec:
    """Prints what it finds, and lives."""
    process = ProcessSpec(command=["python", "-c", READER])
    return WorkloadSpec(name=name, process=process, models=["yolo"], **fields)  # type: ignore[arg-type]


async def sees(node: Node, name: str = "reader") -> list[str]:
    """The hashes that the workload has seen, oldest first."""
    log = node.directory / "logs" / name / "current.log"
    text = log.read_text() if log.exists() else ""
    return [line.rsplit(" ", 1)[1] for line in text.splitlines() if " sees yolo " in line]


async def message_of(node: Node, name: str = "reader") -> str:
    status = await node.status()
    assert status is not None
    return next((each.message for each in status.workloads if each.workload == name), "")


def start_of_hash(data: bytes) -> str:
    return sha256(data)[:8]


async def test_pushed_fetched_seen_changed_deleted(tidy_dir: Path) -> None:
    old, new = content(300_000, 1), content(300_000, 2)
    async with installation(tidy_dir) as site:
        cli = CommandLine(site)
        first, second = cli.file("w.onnx", old), cli.file("new.onnx", new)
        pushed = await cli.run("model", "push", str(first), "--name", "yolo", "--format", "onnx")
        assert pushed.code == 0, pushed.err
        node = await site.started(reader())
        await eventually(lambda: has(node, [start_of_hash(old)]), "it sees the model")
        shown = await cli.run("get", "models", "-o", "csv")
        assert shown.out.splitlines()[1].startswith("yolo,onnx,300000")
        mine = await cli.run("node", "models", "-o", "csv")
        assert mine.out.splitlines()[1].startswith("yolo,onnx,300000,300000")
        refused = await cli.run("delete", "model", "yolo")
        assert (refused.code, "reader need it" in refused.err) == (1, True)

        again = await cli.run("model", "push", str(second), "--name", "yolo", "--format", "onnx")
        assert "change" in again.out
        both = [start_of_hash(old), start_of_hash(new)]
        await eventually(lambda: has(node, both), "it was restarted with the new one")


async def has(node: Node, expected: list[str]) -> bool:
    return await sees(node) == expected


async def test_what_runs_goes_on_until_the_new_model_is_there(tidy_dir: Path) -> None:
    old, new = content(300_000, 1), content(3_000_000, 2)
    async with installation(tidy_dir) as site:
        cli = CommandLine(site)
        await cli.run("model", "push", str(cli.file("w.onnx", old)), "--name", "yolo")
        async with ChaosProxy("127.0.0.1", site.hub.nodes_port) as proxy:
            node = await site.started(reader(), url=f"https://127.0.0.1:{proxy.port}")
            await eventually(lambda: has(node, [start_of_hash(old)]), "it sees the old one")
            pid = await node.pids()
            proxy.path.rate = 200_000
            await cli.run("model", "push", str(cli.file("n.onnx", new)), "--name", "yolo")
            await eventually(lambda: is_fetching(node), "it says that it goes on as before")
            await eventually(lambda: fetched(node) > 0, "a part of it has come")
            assert await node.pids() == pid
            assert await node.process.end(signal.SIGKILL) != 0
            came = fetched(node)
            proxy.heal()
            sent = proxy.forwarded["down"]
            await node.start()
            both = [start_of_hash(old), start_of_hash(new)]
            await eventually(lambda: has(node, both), "it was restarted with the new one")
            assert proxy.forwarded["down"] - sent < len(new) - came + 100_000


def fetched(node: Node) -> int:
    """Bytes of a model that is not here yet."""
    parts = (models_root(node.directory) / ".fetching").glob("*")
    return max((part.stat().st_size for part in parts), default=0)


async def is_fetching(node: Node) -> bool:
    return "goes on as before: model yolo: " in await message_of(node)


async def test_a_damaged_model_is_fetched_again_before_a_restart(tidy_dir: Path) -> None:
    data = content(300_000)
    async with installation(tidy_dir) as site:
        cli = CommandLine(site)
        await cli.run("model", "push", str(cli.file("w.onnx", data)), "--name", "yolo")
        node = await site.started(reader())
        await eventually(lambda: has(node, [start_of_hash(data)]), "it sees the model")
        [file] = (models_root(node.directory) / ".files").iterdir()
        with file.open("r+b") as opened:
            opened.seek(1234)
            opened.write(b"\0\0\0\0")
        await cli.run("restart", "workload", "reader")
        await eventually(lambda: has(node, [start_of_hash(data)] * 2), "it sees the sound one")
        assert "is not what it was" in node.log.read_text()
