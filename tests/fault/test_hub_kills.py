"""Two hub processes on one PostgreSQL; one after the other is killed while nodes push."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.installation import Hub
from tests.postgres import Postgres
from tests.simulated_nodes import kills

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
