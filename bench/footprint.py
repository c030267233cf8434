"""What a node costs with 50 workloads: memory of agent and keeper and what it consists of, idle CPU, cold start."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.installation import Node, installation

from bench import rig
from bench.figures import Figure, summary
from bench.processes import (
    alone_mb,
    build_stamp,
    cpu_seconds,
    pss_mb,
    stamps,
    wait_for_files,
)
from skerry.cli.http import node_api
from skerry.wire.local import StopRequest

SETTLE = 15.0
IDLE = 75.0
COLD_STARTS = 7

PARTS = ("asyncio", "sqlite3", "msgspec", "zstandard", "aiohttp", "skerry.node.agent")
"""Imported in this order; each costs what it adds to the ones before."""

PROBE = """
import sys
def private():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
found = [private()]
for name in sys.argv[1:]:
    __import__(name)
    found.append(private())
print(*found)
"""


async def run(place: Path) -> list[Figure]:
    """One installation: idle first, then its node again and again from cold."""
    stamp = build_stamp(place)
    specs = rig.fleet(stamp, place / "s")
    async with installation(place) as found:
        node = await rig.joined(found, "n1", found.hub.nodes_url, *specs.values())
        await asyncio.to_thread(wait_for_files, list(specs))
        await asyncio.sleep(SETTLE)
        idle = await _idle(node)
        await _stop(node)
        await found.hub.kill()
        cold = [await _cold(node, list(specs)) for _ in range(COLD_STARTS)]
    return [*idle, *_cold_figures(cold), *_parts()]


async def _idle(node: Node) -> list[Figure]:
    status = await node.status()
    assert status is not None
    assert status.keeper_pid is not None
    agent, keeper = rig.agent_pid(node), status.keeper_pid
    both = (agent, keeper)
    before = [cpu_seconds([pid]) for pid in both]
    await asyncio.sleep(IDLE)
    spent = [cpu_seconds([pid]) - start for pid, start in zip(both, before, strict=True)]
    shares = [seconds / IDLE * 100 for seconds in spent]
    return [
        Figure(
            "footprint",
            f"idle memory of agent and keeper, {rig.UNITS} workloads, nobody else mapping their files",
            alone_mb(both),
            "MB",
            target=50.0,
            note=f"agent {alone_mb([agent]):.1f}, keeper {alone_mb([keeper]):.1f} each by itself. From smaps: anonymous "
            "pages, and each page of a file once: the PSS on a device that runs nothing else in Python",
        ),
        Figure(
            "footprint",
            "the same as PSS, hub and bench sharing Python's pages",
            sum(map(pss_mb, both)),
            "MB",
            target=50.0,
            note=f"agent {pss_mb(agent):.1f}, keeper {pss_mb(keeper):.1f}. From smaps_rollup",
        ),
        Figure(
            "footprint",
            f"idle CPU of agent and keeper, {rig.UNITS} workloads, live link open",
            sum(shares),
            "% of a core",
            target=0.5,
            note=f"agent {shares[0]:.3f}, keeper {shares[1]:.3f}, over {IDLE:.0f} s",
        ),
    ]


async def _stop(node: Node) -> None:
    """As `skerry node stop --workloads`: agent, keeper and workloads end."""
    async with node_api(node.directory) as api:
        await api.order("POST", "/v1/stop", StopRequest(workloads=True))
    assert node.process.process is not None
    await node.process.process.wait()


async def _cold(node: Node, files: Sequence[Path]) -> tuple[float, float]:
    """Milliseconds from the agent's start to the first and to the last workload's stamp."""
    for file in files:
        file.unlink()
    await asyncio.sleep(1.0)
    started = time.time_ns()
    await node.start()
    await asyncio.to_thread(wait_for_files, files)
    times = [stamps(file)[0][0] for file in files]
    await node.ready()
    await _stop(node)
    return (min(times) - started) / 1e6, (max(times) - started) / 1e6


def _cold_figures(cold: Sequence[tuple[float, float]]) -> list[Figure]:
    firsts, lasts = [first for first, _ in cold], [last for _, last in cold]
    return [
        Figure(
            "footprint",
            "cold start: agent's start → first workload's stamp, no hub, no keeper (median)",
            statistics.median(firsts),
            "ms",
            target=500.0,
            note=f"{summary(firsts)}; all {rig.UNITS} after {statistics.median(lasts):.0f} ms (median)",
        )
    ]


def _parts() -> list[Figure]:
    """What the agent's memory consists of, by imports in a fresh interpreter."""
    words = [sys.executable, "-c", PROBE, *PARTS]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    sizes = [int(word) / 1024 for word in output.split()]
    return [
        Figure(
            "footprint",
            "part: the interpreter alone",
            sizes[0],
            "MB",
            note="RSS, as the parts below",
        ),
        *(
            Figure("footprint", f"part: import {name}", after - before, "MB")
            for name, before, after in zip(PARTS, sizes, sizes[1:], strict=False)
        ),
    ]
