"""A node with a limit of memory: the workload that passes it is ended and marked, everything else goes on."""

from functools import partial
from pathlib import Path

import pytest
from tests.installation import Node, installation, sleeper

from skerry.cli.http import node_api
from skerry.testing.waiting import eventually
from skerry.wire.local import Doctor, NodeStatus
from skerry.wire.workload import ProcessSpec, Resources, Restart, WorkloadSpec

MB = 1_000_000
HOG = "import time; held = [b'x' * 20_000_000 for _ in range(30)]; time.sleep(600)"
DAEMON = "import os, time; os.fork() and time.sleep(600); os.setsid(); os.fork() and os._exit(0); "


def hog(name: str, script: str = HOG, **fields: object) -> WorkloadSpec:
    command = ["python", "-c", script]
    restart = Restart(policy="never")
    return WorkloadSpec(
        name=name,
        process=ProcessSpec(command=command),
        restart=restart,
        **fields,  # type: ignore[arg-type]
    )


async def status_of(node: Node) -> NodeStatus:
    status = await node.status()
    assert status is not None
    return status


async def has_failed(node: Node, name: str) -> bool:
    phases = {each.workload: each.phase for each in (await status_of(node)).workloads}
    return phases.get(name) == "failed"


@pytest.mark.timeout(90)
async def test_who_passes_the_limit_is_ended_and_marked(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        node.options += ["--set", "runtime.max_memory_usage=512MB"]
        node.options += ["--set", "runtime.memory_check_interval=200ms"]
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("steady"))
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("steady"), "the neighbour runs")
        agent = (await status_of(node)).pid
        pids = await node.pids()
        await site.hub.apply(hog("hog"))
        await eventually(partial(has_failed, node, "hog"), "the hog is ended")
        status = await status_of(node)
        ended = {each.workload: each for each in status.workloads}["hog"]
        assert ended.exit is not None
        assert (ended.exit.signal, ended.exit.reason) == (9, "memory of the node")
        assert ended.message == "ended: signal 9 (memory of the node)"
        assert status.pid == agent
        assert await node.pids() == pids
        await eventually(partial(is_within, node), "the node is within its limit")
        await eventually(partial(site.hub.has, "skerry.memory.ended", 1), "the event arrives")
        [event] = await site.hub.rows("skerry.memory.ended")
        assert event.meta["workload"] == "hog"
        assert int(event.meta["bytes"]) > 400 * MB
        await site.hub.apply(hog("daemon", DAEMON + HOG))
        await eventually(partial(has_failed, node, "daemon"), "a daemon of it counts, too")


async def is_within(node: Node) -> bool:
    usage = (await status_of(node)).memory
    return usage is not None and usage.used <= usage.limit and set(usage.workloads) == {"steady"}


async def test_a_node_near_its_limit_says_so(short_dir: Path) -> None:
    """Pages that it shares with other programs of this machine count in part, by how many have them.

    So the node itself takes 33 MB or 63: with the workload's 425 to 430 both are between the mark (450) and the limit.
    """
    script = HOG.replace("20_000_000", "30_000_000").replace("range(30)", "range(14)")
    async with installation(short_dir) as site:
        node = site.node()
        node.options += ["--set", "runtime.max_memory_usage=500MB"]
        node.options += ["--set", "runtime.memory_check_interval=200ms"]
        await node.enrol(site.hub)
        await site.hub.apply(hog("cam", script, resources=Resources(memory=440 * MB)))
        await node.start()
        await node.ready()
        await eventually(lambda: node.runs("cam"), "it runs")
        await eventually(partial(names_a_problem, node), "the status names it")
        await eventually(partial(site.hub.has, "skerry.memory.high", 1), "the event arrives")
        async with node_api(node.directory) as api:
            checks = {each.name: each for each in (await api.get("/v1/doctor", Doctor)).checks}
        assert checks["memory"].outcome == "warning"
        assert await node.runs("cam")
        assert len(await site.hub.rows("skerry.memory.high")) == 1


async def names_a_problem(node: Node) -> bool:
    problems = " ".join((await status_of(node)).problems)
    return "% of 500 MB: cam " in problems
