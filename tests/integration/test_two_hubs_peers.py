"""What hub processes know of each other by their one PostgreSQL, without any web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import Connection
from tests.hub_rig import HubRig
from tests.postgres import Postgres

from skerry.hub.peers import Peers
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.leases import Leases
from skerry.kit.clock import SystemClock
from skerry.testing.manual_clock import ManualClock
from skerry.testing.waiting import eventually

pytestmark = pytest.mark.postgres


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    with postgres.prepared_database() as address:
        yield address


async def test_a_lease_is_one_processes_until_it_runs_out_or_is_given_back(url: str) -> None:
    stores = [HubStore(url, SystemClock()) for _ in range(2)]
    for store in stores:
        await asyncio.to_thread(store.start)
    one, other = (Leases(store) for store in stores)
    assert await one.hold("job", 60)
    assert not await other.hold("job", 60)
    assert await other.hold("other job", 60)
    assert await one.hold("job", 0.001)
    await eventually(lambda: other.hold("job", 60), "the lease has run out")
    assert not await one.hold("job", 60)
    await other.release()
    assert await one.hold("job", 60)
    for store in stores:
        await asyncio.to_thread(store.stop)


async def test_a_process_that_does_not_beat_is_not_asked(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [HubStore(url, SystemClock()) for _ in range(2)]
    for store in stores:
        await asyncio.to_thread(store.start)
    one, other = (
        Peers(store, *[f"http://127.0.0.1:{port}"] * 2, "t" * 64)
        for store, port in zip(stores, (1, 2), strict=True)
    )
    await one.join()
    await one.linked("n", None)
    assert await other.holder("n") == "http://127.0.0.1:1"
    assert await one.holder("n") is None
    await stores[0].write(
        lambda c: c.exec_driver_sql("UPDATE hub_process SET seen_at = seen_at - 60000000000")
    )
    assert await other.holder("n") is None
    await one.beat()
    assert await other.holder("n") == "http://127.0.0.1:1"
    await one.leave()
    assert await other.holder("n") is None
    assert await other.addresses() == ["http://127.0.0.1:1"]
    for store in stores:
        await asyncio.to_thread(store.stop)


async def test_a_node_that_is_deleted_while_another_hub_looks_it_up_stays_unknown(
    postgres: Postgres, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.database() as url:
        one, other = HubRig(url, manual_clock), HubRig(url, manual_clock)
        await one.start()
        await other.start()
        enrolled = await one.enrol("n1")
        read, deleted = other.store.read, []

        async def before_the_notice(work: Callable[[Connection], object]) -> object:
            found = await read(work)
            if not deleted:
                deleted.append(await one.nodes.delete("n1"))
                other.nodes.forget(enrolled.node_id)
            return found

        monkeypatch.setattr(other.store, "read", before_the_notice)
        assert await other.nodes.recall(f"{enrolled.node_id}.{enrolled.secret}") is None
        assert not other.nodes.knows(enrolled.node_id)
        one.stop()
        other.stop()
