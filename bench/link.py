"""How soon values flow again when the path is restored, and what an idle node sends in a month."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.installation import Installation, Node, installation, sleeper

from bench import rig
from bench.figures import Figure, summary
from skerry.core.cursors import set_digest
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.identity import read_identity, read_secret
from skerry.node.sync.connections import open_session
from skerry.node.sync.pace import SAFETY_EVERY
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.chaos_proxy import ChaosProxy
from skerry.wire.sync import Pull

TRIALS = 5
OUTAGE = 10.0
IDLE = 185.0
MONTH = 30 * 86400.0

HEADER = 52
"""IPv4 and TCP with timestamps, without options beyond; the formula below counts packets."""
PACKETS_PER_PING = 3
"""Ping, pong that acknowledges it, acknowledgement."""
PACKETS_PER_PULL = 14
"""Three to connect, four for TLS, request, answer and two acknowledgements, three to close."""


def _silent(proxy: ChaosProxy) -> None:
    proxy.black_hole()


def _deaf(proxy: ChaosProxy) -> None:
    proxy.black_hole(connects="hanging")


def _refused(proxy: ChaosProxy) -> None:
    proxy.refuse()
    proxy.reset_all()


CUTS: dict[str, Callable[[ChaosProxy], None]] = {
    "black hole, connections are accepted and silent": _silent,
    "black hole, connections get no answer": _deaf,
    "connections reset and refused": _refused,
}


async def run(place: Path) -> list[Figure]:
    """One node for each kind of cut and one that idles, all at the same time."""
    async with installation(place) as found:
        idle = asyncio.create_task(_idle(found))
        await asyncio.sleep(2.0)
        cuts = await asyncio.gather(
            *(_restored(found, f"n{index}", cut) for index, cut in enumerate(CUTS.values()))
        )
        network = await idle
    return [
        *(
            Figure(
                "link",
                f"path restored → first value durable at the hub, {words} (median)",
                statistics.median(times),
                "s",
                target=2.0,
                note=f"{summary(times)}; outages of {OUTAGE:.0f} to {OUTAGE + 1.5:g} s, the value was published within",
            )
            for words, times in zip(CUTS, cuts, strict=True)
        ),
        *network,
    ]


async def _restored(
    found: Installation, name: str, cut: Callable[[ChaosProxy], None]
) -> list[float]:
    async with ChaosProxy("127.0.0.1", found.hub.nodes_port) as proxy:
        node = await rig.joined(found, name, f"https://127.0.0.1:{proxy.port}", sleeper("worker"))
        publisher = node.publisher("worker")
        times = []
        for trial in range(TRIALS):
            await asyncio.sleep(random.uniform(1.0, 2.0))
            cut(proxy)
            await asyncio.sleep(OUTAGE / 2)
            value = f"{name}.trial{trial}"
            await asyncio.to_thread(publisher.publish, "measurement", [(value, 21.5)], 10.0)
            await asyncio.sleep(OUTAGE / 2 + random.uniform(0.0, 1.5))
            proxy.heal()
            healed = time.monotonic()
            times.append(await rig.visible(found.hub, value) - healed)
            await rig.online(node)
        return times


async def _idle(found: Installation) -> list[Figure]:
    """The proxy counts what TCP carries. A pull is rare, so it is measured apart and counted by its interval."""
    async with ChaosProxy("127.0.0.1", found.hub.nodes_port) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        node = await rig.joined(found, "idle", url, sleeper("worker"))
        await asyncio.sleep(10.0)
        before, connections = sum(proxy.forwarded.values()), proxy.accepted
        await asyncio.sleep(IDLE)
        window = sum(proxy.forwarded.values()) - before
        pulls = proxy.accepted - connections
        pull = await _one_pull(proxy, url, node)
    pings = (window - pulls * pull) / IDLE
    monthly_pulls = MONTH / SAFETY_EVERY
    payload = pings * MONTH + monthly_pulls * pull
    packets = MONTH / 20 * PACKETS_PER_PING + monthly_pulls * PACKETS_PER_PULL
    return [
        Figure(
            "link",
            "idle network in 30 days, payload of TCP in both directions, TLS with certificates",
            payload / 1e6,
            "MB",
            target=10.0,
            note=f"{window} bytes in {IDLE:.0f} s with {pulls} pulls in them; a pull takes {pull} bytes with its HTTP headers "
            f"and comes every {SAFETY_EVERY:.0f} s, pings and pongs of the live link {pings * 60:.0f} bytes a minute",
        ),
        Figure(
            "link",
            "the same with IPv4 and TCP headers",
            (payload + packets * HEADER) / 1e6,
            "MB",
            note=f"by formula: {PACKETS_PER_PING} packets for a ping every 20 s, {PACKETS_PER_PULL} for a pull, "
            f"{HEADER} bytes of headers each",
        ),
    ]


async def _one_pull(proxy: ChaosProxy, url: str, node: Node) -> int:
    """Bytes of a pull that brings nothing, on a connection of its own, as the node makes it."""
    identity = read_identity(node.directory)
    assert identity is not None
    secret = read_secret(node.directory, NullCipher())
    async with open_session(tls=node.tls()) as session:
        full = await HttpUplink(session, url, identity.node_id, secret).pull(Pull(None, ""))
    known = Pull(full.cursor, set_digest({(row.entity, row.id): row.rev for row in full.rows}))
    before = sum(proxy.forwarded.values())
    async with open_session(tls=node.tls()) as session:
        reply = await HttpUplink(session, url, identity.node_id, secret).pull(known)
    assert not reply.rows
    return sum(proxy.forwarded.values()) - before
