"""Fixtures: a supervisor with a runtime in memory and a clock in the test's hand; a node's sync with a hub in memory; the
`skerry` command with a real hub.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import installation
from tests.shell import Shell
from tests.sync_rig import NodeRig, passing
from tests.workload_rig import Rig

from skerry.testing.fake_hub import FakeHub
from skerry.testing.fake_runtime import FakeRuntime
from skerry.testing.manual_clock import ManualClock


@pytest.fixture
def runtime(manual_clock: ManualClock) -> FakeRuntime:
    return FakeRuntime(clock=manual_clock)


@pytest.fixture
async def rig(
    tmp_path: Path, runtime: FakeRuntime, manual_clock: ManualClock
) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path, runtime, manual_clock)
    await rig.start()
    yield rig
    await rig.stop()


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
async def node(tmp_path: Path, hub: FakeHub, manual_clock: ManualClock) -> AsyncIterator[NodeRig]:
    """Real stores, and a sync that talks to `hub` once it is switched on."""
    node = NodeRig(tmp_path / "node", hub, manual_clock)
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def time(manual_clock: ManualClock) -> AsyncIterator[None]:
    """Passes while the test runs."""
    task = asyncio.create_task(passing(manual_clock))
    yield
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def shell(short_dir: Path) -> AsyncIterator[Shell]:
    home = short_dir / "home"
    home.mkdir()
    async with installation(short_dir) as site:
        yield Shell(site, home)
