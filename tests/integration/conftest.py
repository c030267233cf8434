"""Fixtures of the lifecycle suites: a supervisor with a runtime in memory and a clock in the test's hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
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
