"""Models that only scripts name, in whole: pushed, fetched before the start, added by an edit, there without a hub."""

from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from tests.command_line import CommandLine
from tests.installation import Installation, Node, installation
from tests.model_cases import content, sha256

from skerry.testing.waiting import eventually
from skerry.wire.workload import Stop, WorkerSpec, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

SCRIPT = """
import os, pathlib, signal
class models:
    def load(name):
        files = pathlib.Path(os.environ.get("SKERRY_MODELS", "/nowhere"), name).glob("*.onnx")
        print("loads", name, *(len(file.read_bytes()) for file in files), flush=True)
{loads}
while True: signal.pause()
"""

MODEL = """
kind: model
name: cat
source: {{file: {}}}
files: [{{name: cat.onnx, sha256: {}, size: 3000}}]
"""


def save(directory: Path, *names: str) -> None:
    """A script that loads these models."""
    loads = "\n".join(f"models.load({name!r})" for name in names)
    draft = directory / ".a.py"
    draft.write_text(SCRIPT.format(loads=loads))
    draft.rename(directory / "a.py")


def loaded(node: Node) -> list[str]:
    log = node.directory / "logs/cam/current.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split(" loads ", 1)[1] for line in lines if " loads " in line]


async def has_loaded(node: Node, *expected: str) -> None:
    await eventually(
        lambda: loaded(node) == list(expected), f"{expected} is loaded: {loaded(node)}"
    )


async def says(node: Node, words: str) -> bool:
    status = await node.status()
    return status is not None and any(words in one.message for one in status.workloads)


async def push(shell: CommandLine, name: str, data: bytes) -> None:
    file = shell.file(f"{name}.onnx", data)
    pushed = await shell.run("model", "push", str(file), "--name", name)
    assert pushed.code == 0, pushed.err


async def group(
    site: Installation, scripts: Path, models: Literal["need", "wish"] = "need"
) -> Node:
    node = site.node()
    await node.enrol(site.hub)
    worker = WorkerSpec(str(scripts), reload_delay=1.0, models=models)
    await site.hub.apply(WorkloadSpec(name="cam", worker=worker, stop=Stop(grace=1.0)))
    await node.start()
    await node.ready()
    return node


async def test_a_worker_waits_for_what_its_scripts_name(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    save(scripts, "cat & co")
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        node = await group(site, scripts)
        lacks = "scripts name model «cat & co», which the hub does not have: skerry model push"
        await eventually(partial(says, node, lacks), "it says what is missing")
        await push(shell, "cat & co", content(3000))
        await has_loaded(node, "cat & co 3000")
        before = await node.pid("cam")

        save(scripts, "cat & co", "dog")
        lacks = "goes on as before: scripts name model «dog», which the hub does not have"
        await eventually(partial(says, node, lacks), "the reload waits")
        assert await node.pid("cam") == before
        await push(shell, "dog", content(5000))
        await has_loaded(node, "cat & co 3000", "cat & co 3000", "dog 5000")
        shown = await shell.run("worker", "status")
        assert "models    cat & co (3 KB), dog (5 KB)" in shown.out, shown.out
        assert "health: ok" in shown.out
        assert shown.out.count("reload: a.py") == 1

        await site.hub.kill()
        await node.kill()
        node.clean()  # as a reboot: nothing of it lives
        await node.start()
        await node.ready()
        await eventually(lambda: loaded(node)[3:] == ["cat & co 3000", "dog 5000"], "it starts")


async def test_what_is_unclear_is_shown_and_holds_up_nothing(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    save(scripts)
    (scripts / "b.py").write_text("def f(x, models): models.load(x)\n")
    (scripts / "cyberwave.yml").write_text("models: [../../etc/passwd]\n")
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        node = await group(site, scripts)
        await eventually(partial(node.runs, "cam"), "it runs")
        shown = await shell.run("worker", "status")
        for doubt in (
            "b.py:1: «x» cannot be known without running it",
            "cyberwave.yml:1: «../../etc/passwd» cannot be the name of a file",
        ):
            assert f"unclear   {doubt}" in shown.out, shown.out
            assert f"models of worker group «cam» are unclear: {doubt}" in node.log.read_text()


async def test_a_worker_that_only_wishes_starts_without_what_cannot_be_had(
    short_dir: Path,
) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    save(scripts, "cat", "dog")
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        await push(shell, "cat", content(3000))
        node = await group(site, scripts, "wish")
        await has_loaded(node, "cat 3000", "dog")
        await push(shell, "dog", content(5000))
        await has_loaded(node, "cat 3000", "dog", "cat 3000", "dog 5000")


async def test_a_model_whose_bytes_are_wrong_keeps_no_wishing_worker_down(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    save(scripts, "cat")
    weights = short_dir / "cat.onnx"
    weights.write_bytes(content(3000))
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        described = shell.file("cat.yaml", MODEL.format(weights, sha256(content(3000, 2))).encode())
        named = await shell.run("apply", "-f", str(described))
        assert named.code == 0, named.err
        node = await group(site, scripts, "wish")
        await has_loaded(node, "cat")
        weights.write_bytes(content(3000, 2))
        await has_loaded(node, "cat", "cat 3000")


async def test_case_35_what_only_a_comment_names_is_no_model(short_dir: Path) -> None:
    """Models that are named by an alias or a constant are found, too: the table of `tests/unit/test_model_scan.py`."""
    scripts = short_dir / "w"
    scripts.mkdir()
    save(scripts, "cat")
    text = (scripts / "a.py").read_text()
    (scripts / "a.py").write_text(f"# cw.models.load('nobody-has-it')\n{text}\nNAME = 'x'\n")
    async with installation(short_dir) as site:
        shell = CommandLine(site)
        await push(shell, "cat", content(3000))
        node = await group(site, scripts)
        await has_loaded(node, "cat 3000")
