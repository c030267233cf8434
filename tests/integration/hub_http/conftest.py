"""Fixtures: a hub that runs, a node of it, and a client without cookies."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client

from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.sync import Enrolled


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


@pytest.fixture
async def node(hub: RunningHub) -> Enrolled:
    return await hub.enrol("a")


@pytest.fixture
async def client(hub: RunningHub) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session
