"""1,000 nodes that lost their hub and come back to it at once: until every one of them has everything."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.installation import Hub

from bench import sealed
from bench.executions import Execution, executions
from bench.figures import Figure, summary
from bench.processes import cpu_seconds, peak_mb
from bench.reconnecting import EDITORS
from bench.sealed import Site
from skerry.testing.running_hub import RunningHub

NODES = 1000
ROWS = 1000
CHANGED = 100
ENTITY = "execution"
_SECONDS = 300.0


async def run(place: Path, _peers: object = None) -> list[Figure]:
    """The nodes are simulated in one process (`bench.reconnecting`) and share the cores with the hub."""
    async with sealed.site(place) as site:
        rows = site.at_hub(Execution)
        made = await asyncio.to_thread(rows.create_many, executions(ROWS))
        hub = RunningHub(site.found.hub.url, site.token)
        found = [await hub.enrol(f"n{number}") for number in range(NODES)]
        nodes = place / "nodes"
        nodes.write_text("\n".join(f"{each.node_id}.{each.secret}" for each in found))
        words = [site.found.hub.url, str(nodes), ENTITY]
        fleet = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.reconnecting", *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_SECONDS):
                return [await _came_back(site, fleet, made)]
        finally:
            if fleet.returncode is None:
                fleet.kill()
            await fleet.wait()


async def _came_back(
    site: Site, fleet: asyncio.subprocess.Process, made: Sequence[Execution]
) -> Figure:
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    assert json.loads(await fleet.stdout.readline())["ready"] == NODES
    await _restarted(site, made)
    pids = (site.hub_pid, fleet.pid)
    before, begun = [cpu_seconds([pid]) for pid in pids], time.monotonic()
    fleet.stdin.write(b"go\n")
    told = json.loads(await fleet.stdout.readline())
    seconds = time.monotonic() - begun
    hub, load = (cpu_seconds([pid]) - cpu for pid, cpu in zip(pids, before, strict=True))
    times = told["times"]
    failures = told["failures"]
    assert told["all"], (len(failures), failures[-3:])
    return Figure(
        "sync",
        f"{NODES:,} nodes come back to a restarted hub at once: all have their live links, are rid of what they had, and have all rows",
        max(times),
        "s",
        target=30.0,
        note=f"each had 12 values, every {EDITORS}th an edit; {CHANGED} rows were changed meanwhile; {told['rows']:,} rows were pulled in {told['pulls']:,} answers. "
        f"From the first hello to the last node's last row: {summary(times)}; in {seconds:.1f} s the hub took {hub:.1f} s of processor, the "
        f"nodes, all in one process, {load:.1f} s; hellos that the hub put off: {told['busy']:,}, tries that failed: {len(failures)}{_most(failures)}; peak of the hub's memory "
        f"{peak_mb(site.hub_pid):.0f} MB",
    )


async def _restarted(site: Site, made: Sequence[Execution]) -> None:
    """The hub has changes that no node has heard of, dies, and is there again."""
    for row in made[:CHANGED]:
        row.status = "changed meanwhile"
    await asyncio.to_thread(site.at_hub(Execution).update_many, made[:CHANGED])
    hub: Hub = site.found.hub
    await hub.kill()
    await hub.start()


def _most(failures: Sequence[str]) -> str:
    """The most frequent of them, in words."""
    kinds = Counter(failures).most_common(1)
    return f" (mostly: {kinds[0][0]})" if kinds else ""
