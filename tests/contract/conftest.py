"""The hub's store on each database that it supports: every contract test of the hub runs on all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.hub_rig import HubRig
from tests.postgres import Postgres
from tests.sealing_rig import wanted, where

from skerry.hub.store.keys import Wish
from skerry.testing.manual_clock import ManualClock


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture(params=["plain", pytest.param("sealed", marks=pytest.mark.soak)])
def encryption(request: pytest.FixtureRequest, tmp_path: Path) -> Wish | None:
    return Wish(wanted(), where(tmp_path)) if request.param == "sealed" else None


@pytest.fixture
async def hub(
    database_url: str, manual_clock: ManualClock, encryption: Wish | None
) -> AsyncIterator[HubRig]:
    rig = HubRig(database_url, manual_clock, encryption)
    await rig.start()
    yield rig
    rig.stop()
