"""100,000 values that waited on the node → acknowledged by the hub: rate and bytes; PouchDB beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import time
from pathlib import Path

from tests.installation import BY_SECRET, Node, installation, sleeper

from bench import installed, peer_pouchdb, rig
from bench.figures import Figure
from skerry.sdk.client import Client
from skerry.testing.chaos_proxy import ChaosProxy, Direction
from skerry.wire.records import PublishedRecord

VALUES = 100_000
PUBLISHERS = 8
LIVE = 45
DOCUMENTS = 10_000
WORKER = "worker"
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")

SHAPES = {"twelve values": 12, "1,000 values": 1000}
"""How many values are published together: host-sensors' way, and a bulk import."""


class Overheard(ChaosProxy):
    """Adds up the requests' bodies too, as their heads announce them."""

    bodies = 0

    async def _forward(
        self, data: bytes, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        announced = CONTENT_LENGTH.search(data) if direction == "up" else None
        self.bodies += int(announced[1]) if announced else 0
        await super()._forward(data, writer, direction)


async def run(place: Path) -> list[Figure]:
    """Our own pushes, then values as they come, then the peers."""
    directory = installed.pouchdb()
    found: list[Figure] = []
    async with (
        installation(place, BY_SECRET) as hub_and_nodes,
        contextlib.AsyncExitStack() as proxies,
    ):
        proxy = Overheard("127.0.0.1", hub_and_nodes.hub.port)
        await proxies.enter_async_context(proxy)
        url = f"http://127.0.0.1:{proxy.port}"
        node = await rig.joined(hub_and_nodes, "n1", url, sleeper(WORKER))
        pushes = [await push(node, proxy, size) for size in SHAPES.values()]
        live = await _live(node, proxy)
    peers = (
        {}
        if directory is None
        else {
            f"PouchDB {adapter}": _pouchdb(directory, place, adapter)
            for adapter in peer_pouchdb.ADAPTERS
        }
    )
    for shape, (rate, size) in zip(SHAPES, pushes, strict=True):
        found += [
            Figure(
                "push",
                f"push of {VALUES:,} values, published in groups of {shape}: connection → acknowledged",
                rate,
                "values/s",
                target=100_000.0,
                better="higher",
                peers=peers,
                note=f"hub commits with FULL; peers: {DOCUMENTS:,} documents of one value each, batches of 1,000",
            ),
            Figure(
                "push",
                f"on the wire for these, groups of {shape}, both directions with HTTP headers",
                size,
                "bytes/value",
                target=20.0,
            ),
        ]
    return [*found, *live]


async def push(node: Node, proxy: Overheard, group: int) -> tuple[float, float]:
    """Publishes values while the proxy refuses, then lets the node through: values per second, and bytes per value."""
    proxy.refuse()
    proxy.reset_all()
    before = await _heads(node)
    await asyncio.gather(
        *(
            asyncio.to_thread(_publish, node.publisher(WORKER), seed, group)
            for seed in range(PUBLISHERS)
        )
    )
    count = sum((await _heads(node)).values()) - sum(before.values())
    assert count == VALUES, count
    await asyncio.sleep(2.0)
    accepted, sent = proxy.accepted, sum(proxy.forwarded.values())
    proxy.heal()
    while proxy.accepted == accepted:  # noqa: ASYNC110 - its moment is what counts
        await asyncio.sleep(0.001)
    started = time.time_ns()
    await rig.until(lambda: _is_acknowledged(node), 0.05)
    ended = (await node.sync()).last_synced or 0
    await rig.online(node)
    return count / ((ended - started) / 1e9), (sum(proxy.forwarded.values()) - sent) / count


def _publish(client: Client, seed: int, group: int) -> None:
    """One publisher's share of the values, one second after the other, in groups of `group`."""
    source = rig.HostFigures(seed)
    count = VALUES // PUBLISHERS
    hour_ago = time.time_ns() - 3600 * 10**9
    records = [
        PublishedRecord(name, value, hour_ago + second * 10**9 + seed * 1000)
        for second in range(count // len(rig.HostFigures.NAMES) + 1)
        for name, value in source.next()
    ][:count]
    for first in range(0, count, group):
        client.publish("measurement", records[first : first + group], 20.0)


async def _live(node: Node, proxy: Overheard) -> list[Figure]:
    """Twelve values a second as they come: each second is one unit, with HTTP around it."""
    source, client = rig.HostFigures(5), node.publisher(WORKER)
    total, bodies = sum(proxy.forwarded.values()), proxy.bodies
    for _ in range(LIVE):
        await asyncio.to_thread(client.publish, "measurement", source.next(), 10.0)
        await asyncio.sleep(1.0)
    await rig.until(lambda: _is_acknowledged(node), 0.05)
    count = LIVE * len(source.NAMES)
    return [
        Figure(
            "push",
            "on the wire for 12 values a second as they come: the requests' bodies (zstd)",
            (proxy.bodies - bodies) / count,
            "bytes/value",
            target=40.0,
            note=f"over {LIVE} s; lane keep sends once a second, so every unit carries one group of twelve",
        ),
        Figure(
            "push",
            "the same with HTTP headers and answers, both directions",
            (sum(proxy.forwarded.values()) - total) / count,
            "bytes/value",
            note="each unit of twelve values has a request head of its own, and an answer",
        ),
    ]


async def _heads(node: Node) -> dict[str, int]:
    return {lane.lane: lane.head for lane in (await node.sync()).lanes if lane.lane != "state"}


async def _is_acknowledged(node: Node) -> bool:
    return not any(lane.waiting for lane in (await node.sync()).lanes)


def _pouchdb(directory: Path, place: Path, adapter: str) -> float:
    """Documents per second of one replication."""
    near = place / adapter / "client"
    near.mkdir(parents=True)
    with peer_pouchdb.server(directory, place / adapter, adapter) as port:
        words = ["node", str(directory / "push.js"), adapter, str(port), str(near), str(DOCUMENTS)]
        done = subprocess.run(
            words, cwd=directory, capture_output=True, text=True, check=True, timeout=90
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return float(told["written"] / told["seconds"])
