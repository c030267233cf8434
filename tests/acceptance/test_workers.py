"""Worker groups in whole: a hub, a node, a directory of scripts that people edit."""

import os
import signal
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tests.command_line import CommandLine
from tests.engines import IMAGE, TestEngine
from tests.installation import Installation, Node, installation
from tests.worker_site import group, is_settled, said, say, workers

from skerry.testing.waiting import eventually
from skerry.wire.local import WorkerStatus
from skerry.wire.workload import ContainerSpec

pytestmark = pytest.mark.timeout(180)


async def has_said(node: Node, *words: str) -> None:
    await eventually(lambda: said(node) == list(words), f"{words} is printed: {said(node)}")


@pytest.mark.guarantee("G8")
async def test_scripts_are_loaded_anew_when_they_change_also_while_the_agent_is_away(
    short_dir: Path,
) -> None:
    scripts = short_dir / "w"
    async with installation(short_dir) as site:
        node = site.node()
        await node.enrol(site.hub)
        await site.hub.apply(group(scripts))
        await node.start()
        await node.ready()
        await eventually(partial(_says, node, "it is not there"), "it waits for its directory")
        scripts.mkdir()
        say(scripts, "one")
        await has_said(node, "one")
        say(scripts, "two")
        await has_said(node, "one", "two")
        (scripts / "a.py").touch()
        (scripts / ".a.py.swp").write_text("x")
        (scripts / "notes.txt").write_text("x")
        await node.kill()
        say(scripts, "three")
        await node.start()
        await node.ready()
        await has_said(node, "one", "two", "three")
        await eventually(partial(is_settled, node), "nothing waits")
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(partial(is_settled, node), "nothing waits")
        found = await workers(node)
        assert [(one.cause, one.detail) for one in found.restarts] == [("reload", "a.py")] * 2
        await has_said(node, "one", "two", "three")


async def test_quick_edits_fold_and_none_is_lost(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    say(scripts, "0")
    async with installation(short_dir) as site:
        node = await site.started(group(scripts, delay=3.0))
        await has_said(node, "0")
        for edit in range(1, 8):
            say(scripts, str(edit))
            await eventually(partial(_is_noticed, node, edit), f"{edit} is noticed")
        await eventually(lambda: said(node)[-1] == "7", f"the last one runs: {said(node)}")
        found = await workers(node)
        times = [one.at for one in reversed(found.restarts)]
        assert len(times) < 7
        assert all(late - early >= 3 * 10**9 for early, late in pairwise(times))


async def test_a_person_at_the_device_is_obeyed_and_told(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    say(scripts, "one")
    async with installation(short_dir) as site:
        node = await site.started(group(scripts))
        await has_said(node, "one")
        shell = CommandLine(site)
        assert (await shell.run("worker", "health")).code == 0
        await _obeyed(shell, "restart")
        await has_said(node, "one", "one")
        await _obeyed(shell, "stop")
        await eventually(partial(_says, node, "stopped by hand"), "it is down")
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(partial(_says, node, "stopped by hand"), "it stays down")
        down = await shell.run("worker", "health")
        assert (down.code, "stopped by hand" in down.out) == (2, True), down
        await _obeyed(shell, "start")
        await has_said(node, "one", "one", "one")
        await eventually(partial(node.runs, "cam"), "it runs")
        printed = await shell.run("worker", "logs", "--no-follow")
        assert printed.out.count(" one\n") == 3, printed
        os.kill((await node.pids())["cam"], signal.SIGKILL)
        await has_said(node, *["one"] * 4)
        await node.kill()
        await _is_told_by_the_store(shell)


async def _is_told_by_the_store(shell: CommandLine) -> None:
    ended = await shell.run("worker", "status", "--output", "json")
    assert "this is what its store knows" in ended.err
    [found] = msgspec.json.decode(ended.out, type=list[WorkerStatus])
    causes = [(one.cause, one.detail.split(" by ")[0]) for one in found.restarts]
    assert causes == [
        ("crash", "ended: signal 9"),
        ("manual", "«skerry worker start»"),
        ("manual", "«skerry worker restart»"),
    ]
    assert (found.scripts, found.change, found.automatic) == (["a.py"], None, 1)
    shown = await shell.run("worker", "status")
    assert "crash: ended: signal 9" in shown.out
    health = await shell.run("worker", "health")
    assert health.code == 2
    assert "cam: breaker closed, 1 automatic restarts in 5 minutes" in health.out
    assert [line.split("Z  ")[1] for line in health.out.splitlines() if "Z  " in line] == [
        f"{one.cause}: {one.detail}" for one in found.restarts
    ]
    assert (await shell.run("worker", "start")).code == 1


async def test_scripts_of_a_strict_process(short_dir: Path) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    say(scripts, "one")
    async with installation(short_dir) as site:
        node = await site.started(group(scripts, isolation="strict"))
        await has_said(node, "one")
        say(scripts, "two")
        await has_said(node, "one", "two")


async def test_scripts_of_a_container(short_dir: Path, docker_engine: TestEngine) -> None:
    scripts = short_dir / "w"
    scripts.mkdir()
    say(scripts, "one")
    program = "import os, runpy; runpy.run_path(os.environ['SKERRY_SCRIPTS'] + '/a.py')"
    box = ContainerSpec(image=IMAGE, command=["python3", "-c", program], network="host")
    async with installation(short_dir) as site:
        node = site.node()
        node.options += ["--set", f"containers.socket={docker_engine.socket}"]
        await node.enrol(site.hub)
        await site.hub.apply(group(scripts, runtime="container", container=box))
        await node.start()
        await node.ready()
        try:
            await has_said(node, "one")
            say(scripts, "two")
            await has_said(node, "one", "two")
        finally:
            await _taken_down(site, node)


async def _taken_down(site: Installation, node: Node) -> None:
    await site.hub.apply(prune=True)
    await eventually(partial(_is_bare, node), "it is gone")


async def _is_bare(node: Node) -> bool:
    status = await node.status()
    return status is not None and not status.workloads


async def _obeyed(shell: CommandLine, order: str) -> None:
    ended = await shell.run("worker", order)
    assert ended.code == 0, ended


async def _is_noticed(node: Node, edit: int) -> bool:
    found = await workers(node)
    return found.change is not None or said(node)[-1] == str(edit)


async def _says(node: Node, words: str) -> bool:
    status = await node.status()
    return status is not None and any(words in one.message for one in status.workloads)
