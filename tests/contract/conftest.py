"""The hub's store on each database that it supports: every contract test of the hub runs on all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.hub_rig import HubRig
from tests.postgres import Postgres

from skerry.testing.manual_clock import ManualClock


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture
async def hub(database_url: str, manual_clock: ManualClock) -> AsyncIterator[HubRig]:
    rig = HubRig(database_url, manual_clock)
    await rig.start()
    yield rig
    rig.stop()
