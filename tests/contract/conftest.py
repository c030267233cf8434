"""The hub's store on each database that it supports: every contract test of the hub runs on all of them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from tests.hub_rig import HubRig
from tests.postgres import Postgres
from tests.restorable_hub import RestorableHub
from tests.sealing_rig import wanted, where

from skerry.hub.store.keys import Wish
from skerry.testing.manual_clock import ManualClock
from skerry.testing.prepared import put_tables

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database that no hub has used; it has the tables already, which is most of a hub's first start."""
    if request.param == "sqlite":
        put_tables(tmp_path / "hub.db")
    with _address(request, tmp_path, Postgres.prepared_database) as url:
        yield url


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of one without any table."""
    with _address(request, tmp_path, Postgres.database) as url:
        yield url


def _address(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    made: Callable[[Postgres], AbstractContextManager[str]],
) -> AbstractContextManager[str]:
    if request.param == "sqlite":
        return nullcontext(f"sqlite:///{tmp_path / 'hub.db'}")
    return made(request.getfixturevalue("postgres"))


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


@pytest.fixture
async def restorable(
    database_url: str, tmp_path: Path, manual_clock: ManualClock
) -> AsyncIterator[RestorableHub]:
    hub = RestorableHub(tmp_path, database_url, manual_clock)
    await hub.start()
    yield hub
    hub.rig.stop()
