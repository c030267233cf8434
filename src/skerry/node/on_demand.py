"""Rooms of the node that are loaded with the first workload that needs them: most nodes never do, and memory counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from skerry.kit.bell import Bell
from skerry.node.host import Host
from skerry.node.identity import Enrolled
from skerry.node.models.layout import models_root
from skerry.node.models.named import ScriptModels
from skerry.node.models.on_demand import ModelsOnDemand
from skerry.node.node_settings import NodeSettings
from skerry.node.store.instances import InstanceStore
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.state import NodeStore
from skerry.node.sync.sync import Sync
from skerry.node.sync.uplink import HttpUplink
from skerry.node.workloads.runtimes.lazy_containers import HAD_CONTAINERS, LazyContainers

if TYPE_CHECKING:
    from skerry.node.models.fetching import ModelNeeds
    from skerry.node.workloads.runtimes.containers.room import ContainerRoom


def models_on_demand(
    settings: NodeSettings,
    enrolled: Enrolled | None,
    host: Host,
    instances: InstanceStore,
    session: aiohttp.ClientSession,
    sync: Sync,
) -> ModelsOnDemand:
    """What fetches and keeps the models that workloads need; loaded when there are any."""
    root, limit = models_root(settings.data_dir), settings.models.cache_limit

    def build() -> ModelNeeds:
        # Most nodes have no models: what fetches them takes memory only where there are some.
        from skerry.node.models.download import Download, Pace  # noqa: PLC0415
        from skerry.node.models.fetching import ModelNeeds as Needs  # noqa: PLC0415
        from skerry.node.models.origins import HubAccess  # noqa: PLC0415
        from skerry.node.models.store import ModelStore  # noqa: PLC0415

        hub = None
        if enrolled is not None:
            identity = enrolled.identity
            url = settings.hub.url or identity.hub_url
            hub = HubAccess(url, f"Bearer {identity.node_id}.{enrolled.secret}")
        pace = Pace(settings.models.max_bandwidth, host.clock)
        return Needs(
            ModelStore(root, limit, host.disk, host.clock),
            Download(session, hub, host.disk, pace),
            lambda: (one.assignment for one in instances.load().values()),
            sync.reachability.changed,
            host.clock,
            host.chance,
        )

    return ModelsOnDemand(root, limit, build)


def script_models(
    settings: NodeSettings,
    enrolled: Enrolled | None,
    host: Host,
    facts: NodeStore,
    session: aiohttp.ClientSession,
    sync: Sync,
) -> ScriptModels:
    """What asks the hub for the models that only scripts name."""
    ask = None
    if enrolled is not None:
        url = settings.hub.url or enrolled.identity.hub_url
        ask = HttpUplink(session, url, enrolled.identity.node_id, enrolled.secret).models
    return ScriptModels(facts, ask, sync.reachability, host.clock, host.chance)


def containers_on_demand(
    settings: NodeSettings, host: Host, owner: str, events: OwnEvents
) -> LazyContainers:
    """What runs containers and fetches their images; loaded when there are any."""
    used = settings.data_dir / HAD_CONTAINERS

    def open_room(changed: Bell) -> ContainerRoom:
        from skerry.node.containers import open_room  # noqa: PLC0415 - memory that only some nodes need

        host.disk.write_atomic("containers.used", used, b"")
        return open_room(settings, host, owner, events.tell, changed)

    return LazyContainers(open_room, known=used.exists())
