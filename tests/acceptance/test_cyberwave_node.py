"""A node that serves Cyberwave's drivers: its own broker and gate are there from its start on, and outlive its agent."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest
from tests.installation import Node, installation, sleeper
from tests.ports import free_pair

from skerry.gate.client import SIGN_IN_SECONDS
from skerry.testing.waiting import eventually

BOTH = ("cyberwave-broker", "cyberwave-gate")


def serving(node: Node, directory: Path) -> int:
    """Makes it one; returns the port of MQTT, the next one is that of REST."""
    port = free_pair()
    for setting in ("enabled=true", f"config_dir={directory}", f"mqtt_port={port}", f"rest_port={port + 1}"):  # fmt: skip
        node.options += ["--set", f"cyberwave.{setting}"]
    return port


async def connected(port: int) -> socket.socket:
    async def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await eventually(listens, "the gate listens")
    return socket.create_connection(("127.0.0.1", port))


@pytest.mark.guarantee("G8")
async def test_broker_and_gate_outlive_the_agent(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        port = serving(node, short_dir / "config")
        await node.start()
        await eventually(lambda: node.runs(*BOTH), "broker and gate run without a hub")
        begun = time.monotonic()
        with await connected(port) as client:
            before = await node.pids()
            await node.kill()
            await node.start()
            await eventually(lambda: node.runs(*BOTH), "the next agent has them")
            assert await node.pids() == before
            client.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                assert client.recv(1) == b""
                waited = time.monotonic() - begun
                assert waited > SIGN_IN_SECONDS, "it was hung up on, and not for its silence"


async def test_the_hub_hears_nothing_of_broker_and_gate(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = site.node()
        _ = serving(node, short_dir / "config")
        await node.enrol(site.hub)
        await site.hub.apply(sleeper("cam"))
        await node.start()
        await eventually(lambda: node.runs(*BOTH, "cam"), "all run")

        async def told() -> str:
            async with site.hub.api() as api:
                return str(await api.get("/api/v1/nodes", object))

        async def knows() -> bool:
            return "running" in await told()

        await eventually(knows, "the hub has heard of the node's workload")
        assert "cyberwave" not in await told()
