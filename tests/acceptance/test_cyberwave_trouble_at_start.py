"""Drivers cannot be served at an agent's start: the agent starts all the same, and serves them later."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.cyberwave_site import cyberwave_site, native
from tests.driver_image import PROGRAM
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


def lone(directory: Path) -> Node:
    """A node without a hub that serves twins."""
    port = free_pair()
    node = Node(directory, "n1", "")
    node.options = ["--data-dir", str(node.directory), "--set", "api.port=0"]
    for setting in (
        "enabled=true",
        f"config_dir={directory / 'config'}",
        "environment=11111111-2222-4333-8444-555555555555",
        f"mqtt_port={port}",
        f"rest_port={port + 1}",
    ):
        node.options += ["--set", f"cyberwave.{setting}"]
    node.directory.mkdir(mode=0o700)
    return node


@contextlib.asynccontextmanager
async def started(node: Node) -> AsyncIterator[None]:
    try:
        await node.start()
        await node.ready()
        yield
    finally:
        if node.process.runs:
            await node.process.end(signal.SIGKILL)
        node.clean()


async def serves(node: Node) -> None:
    await eventually(
        lambda: node.runs("cyberwave-broker", "cyberwave-gate"), "what serves drivers runs"
    )


async def test_an_entity_that_is_declared_otherwise_keeps_no_agent_from_starting(
    short_dir: Path,
) -> None:
    node = lone(short_dir)
    await declare_otherwise(node.directory)
    async with started(node):
        await serves(node)
        words = node.log.read_text()
        assert "no twins are served" in words
        assert ASSETS in words


async def test_what_cannot_be_written_keeps_no_agent_from_starting_and_is_tried_again(
    short_dir: Path,
) -> None:
    node = lone(short_dir)
    conf = node.directory / "run" / "broker" / "mosquitto.conf"
    conf.mkdir(parents=True, mode=0o700)
    async with started(node):
        await eventually(lambda: "drivers are not served yet" in node.log.read_text(), "it is told")
        status = await node.status()
        assert status is not None
        assert status.cyberwave is None
        conf.rmdir()
        await serves(node)

        async def is_open() -> bool:
            found = await node.status()
            return found is not None and found.cyberwave is not None

        await eventually(is_open, "drivers are served")


@pytest.mark.guarantee("G8")
async def test_what_runs_keeps_its_token_while_no_twins_can_be_served(short_dir: Path) -> None:
    async with cyberwave_site(short_dir) as site:
        site.sign_in()
        [arm] = await site.join(native("python", "-c", PROGRAM, LIVES=short_dir / "lives"))
        driver, node = site.driver(arm), site.node
        await site.tells(driver, life=1)
        run = node.directory / "run" / "broker"
        tokens, before = (run / "tokens").read_bytes(), await node.pid(driver)
        assert driver.encode() in tokens
        await node.process.end(signal.SIGKILL)
        (node.directory / "outside.json").unlink()
        (run / "rest").unlink()
        (run / "rest").mkdir()
        await node.start()
        await eventually(lambda: "no twins are served" in node.log.read_text(), "it says so")
        await eventually(lambda: node.runs(driver), "it is supervised")
        assert (run / "tokens").read_bytes() == tokens
        (run / "rest").rmdir()

        async def serves_it() -> bool:
            found = await node.status()
            told = None if found is None else found.cyberwave
            return told is not None and [one.workload for one in told.drivers] == [driver]

        await eventually(serves_it, "its twin is served")
        ledger = json.loads((node.directory / "outside.json").read_text())
        assert (
            str(site.config / f"{arm}.json") in ledger
        )  # though an agent before this one wrote it
        assert (run / "tokens").read_bytes() == tokens
        assert "runs without one" not in node.log.read_text()
        assert await node.pid(driver) == before
        await site.power_off()
