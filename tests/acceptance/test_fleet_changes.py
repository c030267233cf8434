"""A change goes through a fleet of real nodes, whatever the hub lives through meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.installation import Installation, Node, installation

from skerry.testing.waiting import eventually
from skerry.wire.people import WorkloadView
from skerry.wire.workload import ProcessSpec, Restart, Update, WorkloadSpec

pytestmark = pytest.mark.timeout(120)

GOOD = "import signal; signal.pause()"
BAD = "raise SystemExit(1)"


def cam(version: str, program: str = GOOD) -> WorkloadSpec:
    return WorkloadSpec(
        name="cam",
        process=ProcessSpec(command=["python", "-c", program]),
        env={"VERSION": version},
        restart=Restart(attempts=2),
        update=Update(max_unavailable=1, min_healthy=1.0, healthy_within=60.0),
    )


async def fleet(site: Installation, *names: str) -> list[Node]:
    nodes = [site.node(name) for name in names]
    for node in nodes:
        await node.enrol(site.hub)
        await node.start()
    await site.hub.apply(cam("1"))
    for node in nodes:
        await eventually(partial(node.runs, "cam"), f"{node.name} runs it")
    await eventually(partial(all_running, site, len(nodes)), "the hub has heard so")
    return nodes


async def view(site: Installation) -> WorkloadView:
    async with site.hub.api() as api:
        [found] = await api.get("/api/v1/workloads", list[WorkloadView])
    return found


async def all_running(site: Installation, count: int) -> bool:
    found = await view(site)
    states = [each.status for each in found.nodes.values()]
    return [each is not None and each.phase == "running" for each in states] == [True] * count


async def is_over(site: Installation) -> bool:
    return (await view(site)).update is None


async def is_paused(site: Installation) -> bool:
    update = (await view(site)).update
    return update is not None and update.state == "paused"


async def given(site: Installation) -> list[bool]:
    """Which nodes run the newest generation."""
    found = await view(site)
    states = [each.status for _, each in sorted(found.nodes.items())]
    return [each is not None and each.generation >= found.generation for each in states]


async def test_a_hub_that_is_killed_in_the_middle_goes_on(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        nodes = await fleet(site, "n1", "n2", "n3")
        before = [await node.pids() for node in nodes]
        await site.hub.apply(cam("2"))
        seen: list[bool] = []

        async def begun() -> bool:
            seen[:] = await given(site)
            return any(seen)

        await eventually(begun, "the first node has the change")
        assert seen == sorted(seen, reverse=True), "one after the other"
        assert not all(seen)
        await site.hub.kill()
        await site.hub.start()
        await eventually(partial(is_over, site), "all nodes have it", 40)
        assert await given(site) == [True, True, True]
        after = [await node.pids() for node in nodes]
        assert all(old != new for old, new in zip(before, after, strict=True))


BUSY = """
import signal
from skerry import sdk
with sdk.busy("landing", at_most=300):
    sdk.publish("cam.lands", 1)
    signal.pause()
"""


async def test_a_workload_says_not_now_and_a_person_overrides_it(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        node = await site.started(cam("1", BUSY))
        await eventually(partial(site.hub.has, "cam.lands", 1), "it has locked updates")
        before = await node.pids()
        await site.hub.apply(cam("2"))
        await eventually(
            partial(_says, node, "update waits: locked by the workload until"), "waits"
        )
        await node.process.end()
        await node.start()
        await node.ready()
        await eventually(partial(_says, node, "(landing)"), "it still waits")
        assert await node.pids() == before
        skerry = CommandLine(site)
        ended = await skerry.run("node", "unlock", "cam")
        assert (ended.code, ended.out) == (0, "updates of workload «cam» are not locked any more\n")
        await eventually(partial(_has_news, node, before), "the new version runs")
        ended = await skerry.run("node", "unlock", "camra")
        assert (ended.code, "it is not on this node" in ended.err) == (1, True)


async def _says(node: Node, words: str) -> bool:
    status = await node.status()
    return status is not None and any(words in each.message for each in status.workloads)


async def _has_news(node: Node, before: dict[str, int]) -> bool:
    pids = await node.pids()
    return pids.keys() == before.keys() and pids != before


async def test_a_bad_change_stops_at_the_first_node_and_is_taken_back(tidy_dir: Path) -> None:
    async with installation(tidy_dir) as site:
        nodes = await fleet(site, "n1", "n2")
        untouched = await nodes[1].pids()
        await site.hub.apply(cam("2", BAD))
        await eventually(partial(is_paused, site), "the change is paused")
        skerry = CommandLine(site)
        shown = await skerry.run("get", "workloads")
        assert "update of «cam» paused: 1 of 2 nodes failed: n1 tripped: ended: code 1" in shown.out
        ended = await skerry.run("update", "abort", "workload", "cam")
        assert (ended.code, ended.out) == (0, "the update of workload «cam» is taken back\n")
        await eventually(partial(all_running, site, 2), "both run the old version")
        await eventually(partial(is_over, site), "nothing is under way")
        assert await nodes[1].pids() == untouched
        listed = await skerry.run("history", "workload", "cam", "-o", "csv")
        rows = [line.split(",") for line in listed.out.splitlines()[1:]]
        assert [(row[0], row[2], row[3], row[-1]) for row in rows] == [
            ("1", "admin", "create", ""), ("2", "admin", "change", ""), ("3", "admin", "rollback", "1"),
        ]  # fmt: skip
        await asyncio.gather(*(node.process.end() for node in nodes))
