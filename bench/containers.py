"""Containers beside their engines' own policies and docker-compose: crash, change, fifty at once, memory of Skerry."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.engines import TestEngine, remove_containers, running
from tests.installation import Installation, Node, installation

from bench import container_peers, installed, rig
from bench.figures import Figure, summary
from bench.processes import alone_mb, build_stamp, pss_mb, stamps, wait_for_files, wait_for_stamps
from skerry.cli.http import Api
from skerry.testing.waiting import eventually
from skerry.wire.people import Apply, ApplyReply
from skerry.wire.workload import ContainerSpec, WorkloadSpec

CRASHES = 12
LIFE = 11.0
"""Seconds before a kill: Docker restarts what has lived for ten without its growing delay."""

CHANGES = 12
ROUNDS = 3
SETTLE = 15.0
TARGETS = {"docker": 300.0, "podman": 110.0}


async def run(place: Path) -> list[Figure]:
    """Docker with everything, then Podman with the crashes."""
    installed.compose()
    stamp = build_stamp(place)
    figures = []
    for name in ("docker", "podman"):
        with running(name) as engine:
            container_peers.load_image(engine, stamp)
            figures += await _crashes(engine, place / f"{name}-crash")
            if name == "docker":
                figures += await _changes(engine, place / "change")
                figures += await _many(engine, place / "many")
                figures += await _memory(engine, stamp, place / "memory")
    return figures


def _box(file: Path, **fields: object) -> WorkloadSpec:
    inside = ContainerSpec(
        image=container_peers.IMAGE,
        command=["/stamp", str(file)],
        network="host",
        volumes=[f"{file.parent}:{file.parent}"],
    )
    return WorkloadSpec(name=file.name, runtime="container", container=inside, **fields)  # type: ignore[arg-type]


def _files(directory: Path, count: int) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    return [directory / f"w{index}" for index in range(count)]


async def _joined(found: Installation, engine: TestEngine, *specs: WorkloadSpec) -> Node:
    node = found.node()
    node.options += ["--set", f"containers.socket={engine.socket}"]
    await node.enrol(found.hub)
    await found.hub.apply(*specs)
    await node.start()
    await node.ready()
    await rig.online(node)
    names = [spec.name for spec in specs]
    await eventually(lambda: node.runs(*names), "the containers run", 60)
    return node


async def _crashes(engine: TestEngine, place: Path) -> list[Figure]:
    files = _files(place / "ours", CRASHES)
    async with installation(place) as found:
        node = await _joined(found, engine, *map(_box, files))
        pids = await node.pids()
        ours = await asyncio.to_thread(_kill_each, files, lambda file: pids[file.name])
    remove_containers(engine.socket)
    files = _files(place / "peer", CRASHES)
    container_peers.run_restarting(engine, files)
    peer = await asyncio.to_thread(
        _kill_each, files, lambda file: container_peers.first_process(engine, f"peer-{file.name}")
    )
    remove_containers(engine.socket)
    return [
        Figure(
            "containers",
            f"crash → successor's own stamp, {engine.name} (median)",
            statistics.median(ours),
            "ms",
            target=TARGETS[engine.name],
            peers={f"{engine.name}'s restart policy": statistics.median(peer)},
            note=f"{summary(ours)}. {CRASHES} containers on the host's network, each killed once after {LIFE:.0f} s. Ours is a "
            f"new container each time, with a FULL commit; theirs the old one started again: {summary(peer)}",
        )
    ]


def _kill_each(files: Sequence[Path], pid_of: Callable[[Path], int]) -> list[float]:
    wait_for_files(files)
    time.sleep(LIFE)
    chance = random.Random(11)
    times = []
    for file in chance.sample(list(files), len(files)):
        time.sleep(chance.uniform(0.3, 0.6))
        before, pid = len(stamps(file)), pid_of(file)
        killed = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        times.append((wait_for_stamps(file, before + 1)[-1][0] - killed) / 1e6)
    return times


async def _changes(engine: TestEngine, place: Path) -> list[Figure]:
    (file,) = _files(place / "ours", 1)
    async with installation(place) as found:
        await _joined(found, engine, _box(file))
        async with found.hub.api() as api:
            ours = [await _change(api, file, index) for index in range(CHANGES)]
    remove_containers(engine.socket)
    peers = {}
    if shutil.which("docker-compose"):
        peers["docker-compose up -d"] = statistics.median(_compose_changes(engine, place))
    return [
        Figure(
            "containers",
            "changed workload: PUT sent → stamp of the new container, the old one ends first (median)",
            statistics.median(ours),
            "ms",
            target=300.0,
            peers=peers,
            note=f"{summary(ours)}. The image is there; the peer's figure includes its start-up",
        )
    ]


async def _change(api: Api, file: Path, index: int) -> float:
    await asyncio.sleep(random.uniform(0.5, 1.0))
    before = len(stamps(file))
    sent = time.time_ns()
    changed = _box(file, env={"WORD": str(index)})
    await api.send("PUT", "/api/v1/workloads", Apply([changed]), ApplyReply)
    return ((await asyncio.to_thread(wait_for_stamps, file, before + 1))[-1][0] - sent) / 1e6


def _compose_changes(engine: TestEngine, place: Path) -> list[float]:
    files = _files(place / "peer", 1)
    work = place / "compose"
    container_peers.compose_up(engine, work, files, "first")
    times = []
    for index in range(CHANGES):
        before = len(stamps(files[0]))
        started = time.time_ns()
        container_peers.compose_up(engine, work, files, str(index))
        times.append((wait_for_stamps(files[0], before + 1)[-1][0] - started) / 1e6)
    container_peers.compose_down(engine, work)
    return times


async def _many(engine: TestEngine, place: Path) -> list[Figure]:
    ours, theirs = [], []
    place.mkdir()
    async with installation(place) as found:
        node = await _joined(found, engine)
        for index in range(ROUNDS):
            files = _files(place / f"ours{index}", rig.UNITS)
            sent = time.time_ns()
            await found.hub.apply(*map(_box, files))
            ours.append((await asyncio.to_thread(wait_for_files, files) - sent) / 1e6)
            await found.hub.apply(prune=True)
            await eventually(lambda: _is_empty(node), "all have ended", 120)
    for index in range(ROUNDS if shutil.which("docker-compose") else 0):
        files = _files(place / f"peer{index}", rig.UNITS)
        started = time.time_ns()
        container_peers.compose_up(engine, place / "compose", files, "w")
        theirs.append((wait_for_files(files) - started) / 1e6)
        container_peers.compose_down(engine, place / "compose")
    return [
        Figure(
            "containers",
            f"{rig.UNITS} containers up: apply sent → last stamp (median)",
            statistics.median(ours),
            "ms",
            peers={"docker-compose up -d": statistics.median(theirs)} if theirs else {},
            note=f"{ROUNDS} rounds each, ms: {_listed(ours)}; peer: {_listed(theirs)}",
        )
    ]


async def _is_empty(node: Node) -> bool:
    status = await node.status()
    return status is not None and not status.workloads


async def _memory(engine: TestEngine, stamp: Path, place: Path) -> list[Figure]:
    half = rig.UNITS // 2
    files = _files(place / "boxes", half)
    processes = {
        file: rig.stamping(f"p{index}", stamp, file)
        for index, file in enumerate(_files(place / "processes", half))
    }
    async with installation(place) as found:
        node = await _joined(found, engine, *map(_box, files), *processes.values())
        await asyncio.to_thread(wait_for_files, [*files, *processes])
        await asyncio.sleep(SETTLE)
        status = await node.status()
        assert status is not None
        assert status.keeper_pid is not None
        both = (rig.agent_pid(node), status.keeper_pid)
        alone, shared = alone_mb(both), sum(map(pss_mb, both))
    remove_containers(engine.socket)
    return [
        Figure(
            "containers",
            f"memory of agent and keeper, {half} processes and {half} containers, nobody else mapping their files",
            alone,
            "MB",
            target=50.0,
            note=f"as PSS beside hub and bench {shared:.1f}",
        )
    ]


def _listed(times: Sequence[float]) -> str:
    return ", ".join(f"{each:.0f}" for each in times)
