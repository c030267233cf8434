"""What of a node shares rows, without an agent around it: it stands alone."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from skerry.node.host import Host
from skerry.node.hub_way import HubWay
from skerry.node.on_demand import shared_on_demand
from skerry.node.settings import find_settings, node_settings
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.opening import OpenedStore
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Stores, Sync


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
