"""`skerry run`, `publish`, `subscribe` and `query --here`: a developer at the device, with the hub's wishes untouched."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Installation, Node, installation, sleeper

from skerry.testing.waiting import eventually
from skerry.wire.people import Rows, WorkloadView

pytestmark = pytest.mark.timeout(120)

TALKS = """
kind: workload
name: mine
process: {command: [sh, -c, "echo one; echo two; exit 3"]}
restart: {policy: always}
"""
STAYS = """
kind: workload
name: mine
process: {command: [sleep, "1000"]}
"""


async def test_a_run_prints_its_output_once_and_ends_with_its_code(tmp_path: Path) -> None:
    async with installation(tmp_path) as site:
        node = await site.started(sleeper("others"))
        command = CommandLine(site)
        file = command.file("mine.yaml", TALKS)
        for _ in range(2):  # what is left of a run is no part of the next one
            ended = await command.run("run", str(file))
            lines = [line.partition("Z ")[2] for line in ended.out.splitlines()]
            assert (ended.code, lines) == (3, ["one", "two"]), ended.err
            assert "workload «mine»: failed, ended: code 3" in ended.err
        await eventually(lambda: _only(node, {"others"}), "the run is forgotten")
        assert await _hub_knows(site) == {"others"}


async def test_a_run_ends_with_its_command_however_that_ends(tmp_path: Path) -> None:
    async with installation(tmp_path) as site:
        node = await site.started(sleeper("others"))
        command = CommandLine(site)
        file = command.file("mine.yaml", STAYS)
        for how in (signal.SIGINT, signal.SIGKILL):
            running = await _begin(command, file)
            await eventually(lambda: node.runs("mine"), "it runs")
            pid = (await node.pids())["mine"]
            running.send_signal(how)
            await running.wait()
            await eventually(lambda: _only(node, {"others"}), "it has ended with its command")
            assert not Path(f"/proc/{pid}").exists()


async def test_a_run_does_not_outlive_the_agent_that_began_it(tmp_path: Path) -> None:
    async with installation(tmp_path) as site:
        node = await site.started(sleeper("others"))
        command = CommandLine(site)
        running = await _begin(command, command.file("mine.yaml", STAYS))
        await eventually(lambda: node.runs("mine"), "it runs")
        pid = (await node.pids())["mine"]
        await node.kill()
        assert await running.wait() == 1
        assert Path(f"/proc/{pid}").exists()  # workloads outlive an agent
        await node.start()
        await eventually(lambda: _only(node, {"others"}), "nobody wants it any more")
        assert not Path(f"/proc/{pid}").exists()


async def test_a_run_cannot_take_a_workloads_name_and_gives_way_to_the_hubs(
    tmp_path: Path,
) -> None:
    async with installation(tmp_path) as site:
        node = await site.started(sleeper("others"))
        command = CommandLine(site)
        taken = command.file("taken.yaml", STAYS.replace("mine", "others"))
        ended = await command.run("run", str(taken))
        assert ended.code == 1
        assert "cannot run «others» in the foreground: a workload of this name" in ended.err
        models = command.file("models.yaml", STAYS + "models: [yolo]\n")
        ended = await command.run("run", str(models))
        assert "it names models" in ended.err
        secrets = command.file("secrets.yaml", STAYS + "secrets: [{name: db, env: DB}]\n")
        ended = await command.run("run", str(secrets))
        assert "it names secrets" in ended.err

        running = await _begin(command, command.file("mine.yaml", STAYS))
        await eventually(lambda: node.runs("mine"), "it runs")
        before = (await node.pids())["mine"]
        await site.hub.apply(sleeper("mine"), sleeper("others"))
        assert await running.wait() == 1
        await eventually(lambda: _replaced(node, before), "the hub's runs instead")


async def test_records_by_hand_are_kept_and_seen_as_they_come(tmp_path: Path) -> None:
    async with installation(tmp_path) as site:
        await site.started()
        command = CommandLine(site)
        watching = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "skerry.cli.main", "subscribe", "env.*", "--output", "json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(command.home)},
        )  # fmt: skip
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert b"waiting for records" in await watching.stderr.readline()
        words = {"21.5": 21.5, "7": 7, "true": True, "warm": "warm", "nan": "nan"}
        for word in words:
            ended = await command.run("publish", "env.temperature", word, "--meta", "by=hand")
            assert ended.code == 0, ended.err
        seen = [json.loads(await watching.stdout.readline()) for _ in words]
        watching.kill()
        await watching.wait()
        assert [row["value"] for row in seen] == list(words.values())
        assert {(row["source"], row["meta"]["by"]) for row in seen} == {("console", "hand")}
        here = await command.run("query", "env.*", "--here", "--output", "json")
        assert [row["value"] for row in json.loads(here.out)] == list(words.values())
        await eventually(lambda: site.hub.has("env.temperature", len(words)), "the hub has them")
        wrong = await command.run("publish", "skerry.mine", "1")
        assert wrong.code == 2
        assert "are the node's own" in wrong.err


async def _begin(command: CommandLine, file: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "skerry.cli.main",
        "run",
        str(file),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "HOME": str(command.home)},
    )


async def _only(node: Node, names: set[str]) -> bool:
    status = await node.status()
    return status is not None and {each.workload for each in status.workloads} == names


async def _replaced(node: Node, before: int) -> bool:
    return await node.runs("mine") and (await node.pids())["mine"] != before


async def _hub_knows(site: Installation) -> set[str]:
    async with site.hub.api() as api:
        views = await api.get("/api/v1/workloads", list[WorkloadView])
        rows = await api.get("/api/v1/records?name=*&limit=10", Rows)
    assert all(row.source != "mine" or row.name.startswith("skerry.") for row in rows.rows)
    return {view.name for view in views}
