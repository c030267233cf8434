"""A program has declared an entity of Cyberwave's otherwise, before the node came to serve twins."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import aiohttp
import pytest
from tests.installation import Node
from tests.lone_node import parts
from tests.ports import free_pair

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.host import Host
from skerry.node.store.opening import opened
from skerry.node.twins.rows import ASSETS
from skerry.testing.waiting import eventually
from skerry.wire.entities import Declare
from skerry.wire.shared import Declaration

pytestmark = pytest.mark.timeout(120)


async def declare_otherwise(data_dir: Path) -> None:
    host = Host(SystemClock(), RealDisk(), random.Random(7))
    async with (
        aiohttp.ClientSession() as session,
        opened(data_dir, "", host.clock, host.disk) as store,
    ):
        shared, _ = parts(data_dir, store, host, session)
        await (await shared.entities()).declare(ASSETS, Declare(Declaration(priority="low")))


async def test_the_agent_starts_and_says_why_it_serves_no_twins(short_dir: Path) -> None:
    port = free_pair()
    node = Node(short_dir, "n1", "")
    node.options = ["--data-dir", str(node.directory), "--set", "api.port=0"]
    for setting in (
        "enabled=true",
        f"config_dir={short_dir / 'config'}",
        "environment=11111111-2222-4333-8444-555555555555",
        f"mqtt_port={port}",
        f"rest_port={port + 1}",
    ):
        node.options += ["--set", f"cyberwave.{setting}"]
    node.directory.mkdir(mode=0o700)
    await declare_otherwise(node.directory)
    try:
        await node.start()
        await node.ready()
        await eventually(
            lambda: node.runs("cyberwave-broker", "cyberwave-gate"), "what serves drivers runs"
        )
        words = node.log.read_text()
        assert "no twins are served" in words
        assert ASSETS in words
    finally:
        if node.process.runs:
            await node.process.end(signal.SIGKILL)
        node.clean()
