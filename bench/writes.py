"""What a node writes to its disk at 12 values a second, one group each second: with its hub, and without."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from tests.installation import Node, installation, sleeper

from bench import rig
from bench.figures import Figure
from bench.processes import written

SECONDS = 120
DAY = 86400
WORKER = "worker"


@dataclass(frozen=True)
class Wear:
    """Bytes a day: handed to write(), and sent to the device in the process's name."""

    handed: float
    device: float


async def run(place: Path) -> list[Figure]:
    """Two nodes side by side: one is online, the other's hub cannot be reached."""
    async with installation(place) as found:
        online = await rig.joined(found, "online", found.hub.nodes_url, sleeper(WORKER))
        alone = await rig.joined(found, "alone", found.hub.nodes_url, sleeper(WORKER))
        await alone.kill()
        alone.options[-1] = "hub.url=https://127.0.0.1:9"
        await alone.start()
        await alone.ready()
        await asyncio.sleep(5.0)
        wears = await asyncio.gather(_wear(online), _wear(alone))
    return [
        figure
        for words, wear in zip(("hub online", "hub away"), wears, strict=True)
        for figure in (
            Figure(
                "writes",
                f"handed to write() a day, 12 values in one group a second, {words}",
                wear.handed / 1e6,
                "MB/day",
                target=150.0,
                note=f"over {SECONDS} s, from wchar of /proc/PID/io; sockets are not in it, asyncio uses send()",
            ),
            Figure(
                "writes",
                f"the device's write_bytes for the same, {words}",
                wear.device / 1e6,
                "MB/day",
                note="whole pages of every fdatasync, from /proc/PID/io; the file system's journal comes on top",
            ),
        )
    ]


async def _wear(node: Node) -> Wear:
    source, client, pid = rig.HostFigures(3), node.publisher(WORKER), rig.agent_pid(node)
    await asyncio.to_thread(client.publish, "measurement", source.next(), 10.0)
    before = written(pid)
    for _ in range(SECONDS):
        await asyncio.gather(
            asyncio.sleep(1.0),
            asyncio.to_thread(client.publish, "measurement", source.next(), 10.0),
        )
    after = written(pid)
    scale = DAY / SECONDS
    return Wear((after[0] - before[0]) * scale, (after[1] - before[1]) * scale)
