"""Two hub processes on one PostgreSQL; one after the other is killed while nodes push."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import psycopg
import pytest
from tests.installation import Hub
from tests.postgres import Postgres
from tests.simulated_nodes import SimulatedNode, open_many

from skerry.testing.running_hub import RunningHub
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.postgres


@pytest.fixture
async def hubs(short_dir: Path, postgres: Postgres) -> AsyncIterator[tuple[list[Hub], str]]:
    with postgres.database() as url:
        found = [Hub(short_dir, name, url) for name in ("one", "other")]
        try:
            for hub in found:
                await hub.start()
            yield found, url
        finally:
            for hub in found:
                if hub.process.runs:
                    await hub.kill()


async def enrolled(
    hubs: Sequence[Hub], session: aiohttp.ClientSession, count: int, every: float
) -> list[SimulatedNode]:
    token = (hubs[0].directory / "admin.token").read_text().strip()
    urls = [hub.url for hub in hubs]
    doors = [RunningHub(url, token) for url in urls]
    return [
        SimulatedNode(
            number, await doors[number % len(doors)].enrol(f"n{number}"), urls, session, every
        )
        for number in range(count)
    ]


async def moved(nodes: list[SimulatedNode], dead: str, within: float) -> float:
    """Waits until every node has been greeted elsewhere and has its live link; returns how long that took."""
    since = time.monotonic()

    def all_have() -> bool:
        return all(node.addresses.current != dead and node.links == 1 for node in nodes)

    await eventually(all_have, "every node is at another hub", within)
    return time.monotonic() - since


async def back(nodes: list[SimulatedNode], since: float, within: float) -> None:
    """Waits until every node has had something acknowledged after `since` and has its live link."""

    def all_are() -> bool:
        return all(node.acknowledged_at > since and node.links == 1 for node in nodes)

    await eventually(all_are, "every node pushes again and has its live link", within)


def held(url: str) -> dict[str, tuple[int, int]]:
    """Rows and distinct records of each node."""
    query = (
        "SELECT node_id, count(*), count(DISTINCT (session_id, counter)) "
        "FROM record JOIN series ON series.id = series_id GROUP BY node_id"
    )
    with psycopg.connect(url) as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(query).fetchall()}


async def kills(hubs: list[Hub], url: str, count: int, every: float, within: float) -> list[float]:
    times = []
    async with open_many() as session:
        nodes = await enrolled(hubs, session, count, every)
        running = [asyncio.create_task(node.run()) for node in nodes]
        try:
            await back(nodes, 0.0, 300)
            assert {node.addresses.current for node in nodes} == {hub.url for hub in hubs}
            for hub in hubs:
                await asyncio.sleep(2.0)  # some load before the kill
                await hub.kill()
                killed_at = time.monotonic()
                times.append(await moved(nodes, hub.url, within))
                await back(nodes, killed_at, 4 * every + 20)
                await hub.start()
        finally:
            for node in nodes:
                node.producing = False
            async with asyncio.timeout(60):
                await asyncio.gather(*running)
        expected = {node.node_id: (node.produced, node.produced) for node in nodes}
        assert held(url) == expected
    return times


@pytest.mark.guarantee("G1")
@pytest.mark.timeout(90)
async def test_nodes_go_on_at_the_other_hub_and_nothing_is_lost_or_doubled(
    hubs: tuple[list[Hub], str],
) -> None:
    await kills(*hubs, count=20, every=0.3, within=20)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.guarantee("G1")
async def test_five_hundred_nodes_are_back_within_five_seconds(
    hubs: tuple[list[Hub], str],
) -> None:
    times = await kills(*hubs, count=500, every=10.0, within=5.0)
    print("back after", [f"{seconds:.2f} s" for seconds in times])  # noqa: T201 - the soak's figure
