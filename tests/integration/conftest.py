"""Fixtures: a supervisor with a runtime in memory and a clock in the test's hand; the `skerry` command with a real hub."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import installation
from tests.shell import Shell
from tests.workload_rig import Rig

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
async def shell(short_dir: Path) -> AsyncIterator[Shell]:
    home = short_dir / "home"
    home.mkdir()
    async with installation(short_dir) as site:
        yield Shell(site, home)
