"""A module lives as a process does: published values, agent's death, crash, offline reboot, reasons, logs."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Node, installation

from skerry.testing.waiting import eventually
from skerry.wire.workload import Resources, Restart, WasmSpec, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

COUNTER = r"""
(module
  (import "skerry" "publish" (func $publish (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"name\": \"box.value\", \"value\": 42}")
  (func (export "_start")
    (drop (call $publish (i32.const 1024) (i32.const 34)))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (loop $sleep
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $sleep))))
"""
"""Publishes once and sleeps."""

ENDLESS = '(module (func (export "_start") (loop $l (br $l))))'
BOMB = """
(module (memory (export "memory") 1)
  (func (export "_start")
    (loop $l (br_if $l (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable))
"""


def module(name: str, path: Path, **fields: object) -> WorkloadSpec:
    """A module's workload; `fields` are those of WorkloadSpec or, in `wasm`, of its section."""
    section = WasmSpec(module=str(path), **fields.pop("wasm", {}))  # type: ignore[arg-type]
    return WorkloadSpec(name=name, runtime="wasm", wasm=section, **fields)  # type: ignore[arg-type]


def written(directory: Path, name: str, text: str) -> Path:
    path = directory / f"{name}.wat"
    path.write_text(text)
    return path


async def test_a_strict_module_has_a_user_and_a_root_of_its_own(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        box = module(
            "box",
            written(short_dir, "box", COUNTER),
            isolation="strict",
            resources=Resources(memory=16 << 20),
        )
        node = await site.started(box)
        await eventually(lambda: site.hub.has("box.value", 1), "its value is at the hub")
        pid = (await node.pids())["box"]
        assert Path(f"/proc/{pid}").stat().st_uid != os.getuid()
        status = await node.status()
        assert status is not None
        assert status.workloads[0].isolation.startswith("strict: user ")


@pytest.mark.guarantee("G2")
@pytest.mark.guarantee("G8")
async def test_a_module_publishes_lives_through_the_agent_and_is_restarted(
    short_dir: Path,
) -> None:
    async with installation(short_dir) as site:
        box = module("box", written(short_dir, "box", COUNTER))
        node = await site.started(box)
        await eventually(lambda: site.hub.has("box.value", 1), "its value is at the hub")
        assert {row.source for row in await site.hub.rows("box.value")} == {"box"}
        before = (await node.pids())["box"]
        await node.kill()
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("box"), "the next agent has it")
        assert (await node.pids())["box"] == before
        os.kill(before, signal.SIGKILL)
        await eventually(partial(_another, node, "box", before), "it runs again")
        await eventually(lambda: site.hub.has("box.value", 2), "and has published again")

        await node.kill()
        await site.hub.kill()
        node.clean()  # what a power cut leaves
        await node.start()
        await eventually(lambda: node.runs("box"), f"it starts offline; {node.log.read_text()}")
        await site.hub.start()
        await eventually(lambda: site.hub.has("box.value", 3), "what it said offline arrives")
        await site.hub.apply(prune=True)
        await eventually(partial(_gone, node), "nothing is left of it")


async def test_the_reason_of_an_end_is_shown(short_dir: Path) -> None:
    once = Restart(policy="never")
    async with installation(short_dir) as site:
        bomb = written(short_dir, "bomb", BOMB)
        loop = written(short_dir, "loop", ENDLESS)
        node = site.node()
        await node.enrol(site.hub)
        await site.hub.apply(
            module("bomb", bomb, resources=Resources(memory=16 << 20), restart=once),
            module("loop", loop, wasm={"deadline": 0.2}, restart=once),
            module("fuel", loop, wasm={"fuel": 100_000}, restart=once),
            module("lost", short_dir / "lost.wasm", restart=once),
        )
        await node.start()
        await node.ready()
        for name, words in (
            ("bomb", "(out of memory)"),
            ("loop", "(deadline)"),
            ("fuel", "(out of fuel)"),
            ("lost", "cannot start workload «lost»: module"),
        ):
            await eventually(partial(_says, node, name, words), f"{name} says {words}")
        shell = CommandLine(site)
        await eventually(partial(_shown, shell, "(out of memory)"), "and the hub shows it")
        log = (node.directory / "logs/bomb/current.log").read_text()
        assert "skerry: the module was ended, out of memory: wasm trap" in log


async def _gone(node: Node) -> bool:
    status = await node.status()
    return status is not None and not status.workloads


async def _shown(shell: CommandLine, words: str) -> bool:
    return words in (await shell.run("get", "workloads", "--output", "json")).out


async def _another(node: Node, workload: str, pid: int) -> bool:
    return await node.runs(workload) and (await node.pids()).get(workload) != pid


async def _says(node: Node, workload: str, words: str) -> bool:
    status = await node.status()
    found = [one for one in status.workloads if one.workload == workload] if status else []
    return bool(found) and words in f"{found[0].message} {found[0].exit}"
