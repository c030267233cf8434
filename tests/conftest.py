"""Fixtures that every suite may use."""

import gc
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.cyberwave_image import sdk_archive, sdk_engine
from tests.cyberwave_sdk import cyberwave_sdk
from tests.engines import (
    docker_daemon,
    docker_engine,
    engine,
    podman_daemon,
    podman_engine,
)
from tests.leftovers import leftovers
from tests.postgres import postgres

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.testing.manual_clock import ManualClock

# Hypothesis gives a test up whose examples take longer than it likes, which says how busy the machine is.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

__all__ = [
    "cyberwave_sdk",
    "docker_daemon",
    "docker_engine",
    "engine",
    "podman_daemon",
    "podman_engine",
    "postgres",
    "sdk_archive",
    "sdk_engine",
]


NOT_MEASURED = (
    "acceptance/",
    "fault/",
    "simulation/",
    "integration/hub_http/",
    "integration/test_cli",
    "integration/test_hub_",
    "integration/test_models",
    "integration/test_row_",
    "integration/test_shared",
    "integration/test_sync",
    "integration/test_trust_",
    "integration/test_twin_",
    "integration/test_two_hubs",
    "contract/test_hub_",
    "contract/test_shared",
    "unit/test_admission",
    "unit/test_hub_waves",
    "unit/test_workload_convergence",
)
"""Tests whose own subject is not in kit, wire or core: to count lines takes half as much again."""


LONGEST = (
    "acceptance/test_executions.py",
    "acceptance/test_developer_ssh.py",
    "acceptance/test_cyberwave_drivers.py",
    "acceptance/test_openapi_fuzz.py",
    "acceptance/test_cyberwave_worker.py",
    "acceptance/test_cyberwave_data_bus.py",
    "integration/test_two_hubs.py",
    "acceptance/test_cyberwave_sdk.py",
)
"""Files of more than a minute and a half, in the order in which they begin."""

SLOW = ("acceptance", "fault", "integration")
"""Their files begin before the others: else the last one of them has a processor to itself while the other idles."""

gc.disable()


def pytest_collection_finish() -> None:
    """Every process has all tests and their modules: half a million objects, which each full collection would search again."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs after pytest-randomly, whose order stays within each of the directories."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(NOT_MEASURED):
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: _rank(item.path.relative_to(tests)))


def _rank(path: Path) -> tuple[int, int]:
    if path.as_posix() in LONGEST:
        return 0, LONGEST.index(path.as_posix())
    return 1, SLOW.index(path.parts[0]) if path.parts[0] in SLOW else len(SLOW)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A temporary directory whose path leaves room for UNIX socket names (107 bytes in all)."""
    path = Path(tempfile.mkdtemp(prefix="sk-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def memory_dir() -> Iterator[Path]:
    """A temporary directory in memory, for hundreds of commits: what dies in these tests is a process, never the power."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of our own in it
    path = Path(tempfile.mkdtemp(prefix="sk-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tidy_dir(short_dir: Path) -> Iterator[Path]:
    """A `short_dir` for real processes: fails the test that leaves one of them, or a mount, behind."""
    yield short_dir
    assert leftovers(short_dir) == []


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def disk() -> RealDisk:
    return RealDisk()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(7)
