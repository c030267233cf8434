"""What keeps and syncs shared rows is loaded where some are shared only."""

import subprocess
import sys
from pathlib import Path

from skerry.kit.disk import RealDisk
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.opening import opened
from skerry.node.sync.row_lanes import Shared
from skerry.testing.manual_clock import ManualClock

LOADED = """
import skerry.node.agent, sys
words = ("shared_", "row_", "merging", "wire.shared", "wire.entities", "api.entities", "entity_", "sdk.models")
print([name for name in sys.modules if name.startswith("skerry") and any(word in name for word in words)])
"""


def test_an_agent_starts_without_what_only_shared_rows_need() -> None:
    words = [sys.executable, "-c", LOADED]
    found = subprocess.run(words, capture_output=True, check=True).stdout
    assert found == b"['skerry.node.shared_on_demand']\n"


async def test_a_node_that_shares_nothing_loads_nothing(memory_dir: Path) -> None:
    async def build() -> Shared:
        raise AssertionError

    async with opened(memory_dir, "", ManualClock(), RealDisk()) as store:
        await SharedOnDemand(store.state, build).restore()


def test_a_workload_without_models_loads_none() -> None:
    words = [sys.executable, "-c", LOADED.replace("skerry.node.agent", "skerry.sdk.client")]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"[]\n"
