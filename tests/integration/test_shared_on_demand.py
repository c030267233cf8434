"""A node that stands alone shares rows all the same: they wait for a hub, over restarts."""

import random
from pathlib import Path

import aiohttp
from msgspec import Raw

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.host import Host
from skerry.node.hub_way import HubWay
from skerry.node.on_demand import shared_on_demand
from skerry.node.settings import find_settings, node_settings
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.opening import OpenedStore, opened
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Stores, Sync
from skerry.wire.entities import Change, Changes, Declare, Find
from skerry.wire.shared import Declaration

NAME = "recipe"


def parts(
    data_dir: Path, store: OpenedStore, host: Host, session: aiohttp.ClientSession
) -> tuple[SharedOnDemand, Sync]:
    settings = node_settings(find_settings(options={"data_dir": str(data_dir)}, environment={}), {})
    records = RecordStore(
        data_dir / "records", disk=host.disk, clock=host.clock, cipher=store.cipher, limits=Limits()
    )
    alone = Reachability(store.state, host.clock, None, by_choice=True)
    sync = Sync(Stores(store.state, records), alone, None, host.clock, host.chance)
    events = OwnEvents(records, host.clock, lambda: "synced")
    way = HubWay(session, session, None, settings.proxies, None)
    return shared_on_demand(settings, way, host, store, sync=sync, events=events), sync


async def test_rows_wait_for_a_hub_over_restarts(memory_dir: Path) -> None:
    host = Host(SystemClock(), RealDisk(), random.Random(7))
    async with aiohttp.ClientSession() as session:
        async with opened(memory_dir, "", host.clock, host.disk) as store:
            shared, _ = parts(memory_dir, store, host, session)
            await shared.restore()
            assert shared.loaded is None
            rows = await shared.entities()
            await rows.declare(NAME, Declare(Declaration(priority="low")))
            await rows.change(NAME, Changes([Change("put", "a", Raw(b"{}"))]))
        async with opened(memory_dir, "", host.clock, host.disk) as store:
            shared, sync = parts(memory_dir, store, host, session)
            await shared.restore()
            assert shared.loaded is not None
            [row] = (await (await shared.entities()).find(NAME, Find())).rows
            assert row.status == "pending"
            assert await shared.loaded.frames.unsent("rows-low") == 1
            assert "rows-low" in await sync.acknowledged()
