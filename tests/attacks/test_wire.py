"""Whoever sits on the wire between node and hub: two network namespaces, everything captured that passes the cable."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import BY_SECRET, Installation, Node, installation, sleeper
from tests.namespace import namespace, reachable_from

from skerry.testing.waiting import eventually

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G9")]

CANARY = "canary7f3a9d20"
ETH_P_ALL = 3


@contextlib.asynccontextmanager
async def captured(interface: str) -> AsyncIterator[bytearray]:
    """Every frame that passes the interface."""
    heard = bytearray()
    listening = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    listening.bind((interface, 0))
    listening.settimeout(0.1)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                heard.extend(listening.recv(1 << 17))

    thread = threading.Thread(target=listen, name="capture")
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        await asyncio.to_thread(thread.join)
        listening.close()


async def speaks(site: Installation, node: Node) -> None:
    """What the canary is in passes the wire, both ways: an environment, a record's value and name, a label."""
    await site.hub.apply(sleeper("told", env={"PASSWORD": CANARY}))
    await node.start()
    await node.ready()
    await eventually(lambda: node.runs("told"), f"it runs; {node.log.read_text()}")
    entry = (f"env.{CANARY}", CANARY * 20)
    await asyncio.to_thread(node.publisher("told").publish, "measurement", [entry], 30.0)
    await eventually(lambda: site.hub.has(f"env.{CANARY}", 1), "the record is at the hub")
    await eventually(lambda: node.link_is("online"), "its link is there")


@pytest.mark.parametrize("method", ["certificate", "secret"])
async def test_what_passes_the_wire(tmp_path: Path, method: str) -> None:
    """With certificates nothing of it can be read; without, it can: so this listens in the right place."""
    settings = BY_SECRET if method == "secret" else ""
    async with namespace() as there, installation(tmp_path, settings) as site:
        port = site.hub.port if method == "secret" else site.hub.nodes_port
        async with (
            reachable_from(there, port) as shown,
            captured(f"sko{os.getpid()}"[:15]) as heard,
        ):
            scheme = "http" if method == "secret" else "https"
            node = site.node(url=f"{scheme}://{there.here}:{shown}")
            await node.enrol(site.hub, {"site": CANARY})
            node.prefix = there.prefix
            await speaks(site, node)
            secret = (node.directory / "node.secret").read_bytes().strip()
            said = bytes(heard)
        assert len(said) > 5000
        found = [CANARY.encode() in said, secret in said]
        assert found == ([True, True] if method == "secret" else [False, False])
