"""Two hub processes on one PostgreSQL; one after the other is killed while nodes push."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import BY_SECRET, Hub
from tests.postgres import Postgres
from tests.simulated_nodes import back, enrolled, held, kills, open_many

pytestmark = pytest.mark.postgres


@pytest.fixture
async def hubs(short_dir: Path, postgres: Postgres) -> AsyncIterator[tuple[list[Hub], str]]:
    with postgres.database() as url:
        found = [Hub(short_dir, name, url, BY_SECRET) for name in ("one", "other")]
        try:
            for hub in found:
                await hub.start()
            yield found, url
        finally:
            for hub in found:
                if hub.process.runs:
                    await hub.kill()


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(90)
async def test_nodes_go_on_at_the_other_hub_and_nothing_is_lost_or_doubled(
    hubs: tuple[list[Hub], str],
) -> None:
    await kills(*hubs, count=20, every=0.3, within=30)


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(90)
async def test_a_crash_of_the_database_under_load_loses_nothing(
    hubs: tuple[list[Hub], str], postgres: Postgres
) -> None:
    processes, url = hubs
    async with open_many() as session:
        nodes = await enrolled(processes, session, count=10, every=0.1)
        running = [asyncio.create_task(node.run()) for node in nodes]
        try:
            await back(nodes, 0.0, 30)
            for _ in range(2):
                await asyncio.to_thread(postgres.crash)
                await back(nodes, time.monotonic(), 30)
        finally:
            for node in nodes:
                node.producing = False
            async with asyncio.timeout(60):
                await asyncio.gather(*running)
    assert all(hub.process.runs for hub in processes)
    assert held(url) == {node.node_id: (node.produced, node.produced) for node in nodes}


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.guarantee("G1")
async def test_five_hundred_nodes_are_back_within_five_seconds(
    hubs: tuple[list[Hub], str],
) -> None:
    times = await kills(*hubs, count=500, every=10.0, within=5.0)
    print("back after", [f"{seconds:.2f} s" for seconds in times])  # noqa: T201 - the soak's figure
