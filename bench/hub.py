"""A hub with 2,000 nodes that report twelve values every ten seconds, each with its live link open."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from pathlib import Path

from tests.installation import BY_SECRET, Hub, installation

from bench.figures import Figure, summary
from bench.load import EVERY, RAMP
from bench.processes import cpu_seconds, rss_mb
from skerry.core.credentials import random_secret, secret_hash
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, node
from skerry.kit.clock import SystemClock
from skerry.kit.ids import uuid7

NODES = 2000
SECONDS = 60.0


async def run(place: Path) -> list[Figure]:
    """Enrols all nodes in the hub's store, starts the hub again on it and lets the load come."""
    async with installation(place, BY_SECRET) as found:
        await found.hub.process.end(signal.SIGTERM)
        (place / "nodes").write_text("\n".join(await _enrolled(found.hub)))
        await found.hub.start()
        return await _loaded(found.hub, place)


async def _enrolled(hub: Hub) -> list[str]:
    clock = SystemClock()
    names = {uuid7(clock): random_secret() for _ in range(NODES)}
    rows = [
        {
            "id": node_id,
            "fleet_id": FLEET,
            "name": f"node-{index}",
            "labels": "{}",
            "secret_hash": secret_hash(secret),
            "version": "bench",
            "enrolled_at": clock.wall_ns(),
            "last_seen": 0,
        }
        for index, (node_id, secret) in enumerate(names.items())
    ]
    store = HubStore(f"sqlite:///{hub.directory / 'hub.db'}", clock)
    await asyncio.to_thread(store.start)
    await store.write(lambda connection: connection.execute(node.insert(), rows))
    await asyncio.to_thread(store.stop)
    return [f"{node_id}.{secret}" for node_id, secret in names.items()]


async def _loaded(hub: Hub, place: Path) -> list[Figure]:
    assert hub.process.process is not None
    pid = hub.process.process.pid
    resting = rss_mb(pid)
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", hub.url, str(place / "nodes"), str(SECONDS),
        stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    try:
        assert load.stdout is not None
        async with asyncio.timeout(RAMP + SECONDS + 4 * EVERY):
            links = json.loads(await load.stdout.readline())["links"]
            before, started = (cpu_seconds([pid]), cpu_seconds([load.pid])), time.monotonic()
            told = json.loads(await load.stdout.readline())
            spent = time.monotonic() - started
            hub_cpu, load_cpu = cpu_seconds([pid]) - before[0], cpu_seconds([load.pid]) - before[1]
            memory = rss_mb(pid)
    finally:
        load.kill()
        await load.wait()
    times = sorted(told["latencies"])
    about = (
        f"{NODES:,} nodes, {links:,} live links, {len(times) / spent:.0f} pushes/s of 12 values, {spent:.0f} s; "
        f"failures: {len(told['failures'])}; the load generator took {load_cpu / spent * 100:.0f} % of the other core"
    )
    return [
        Figure("hub", "CPU of the hub", hub_cpu / spent * 100, "% of a core", note=about),
        Figure(
            "hub",
            "memory of the hub (RSS)",
            memory,
            "MB",
            note=f"{resting:.0f} before the nodes came",
        ),
        Figure(
            "hub",
            "push answered, committed with FULL (p99)",
            times[int(len(times) * 0.99)],
            "ms",
            note=f"{summary(times)}; median {statistics.median(times):.1f}, each on a new connection",
        ),
    ]
