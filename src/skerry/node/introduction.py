"""What a node tells its hub about itself, once for each start of its agent."""

from __future__ import annotations

import asyncio
import platform
from functools import partial

from skerry import __version__
from skerry.kit.tasks import Guard
from skerry.node.host import Host
from skerry.node.identity import Identity
from skerry.node.node_settings import NodeSettings
from skerry.node.store.state import NodeStore
from skerry.wire.codec import encode
from skerry.wire.workload import NodeInfo


async def introduce(
    settings: NodeSettings, identity: Identity | None, store: NodeStore, host: Host
) -> None:
    """What the hub shows about this node; it changes with the version and the boot. Workloads do not wait for it."""
    clock = host.clock
    if identity is None:
        return
    from skerry.node.inventory import collect  # noqa: PLC0415 - once for each start

    hubs = (
        settings.hub.url.split(",") if settings.hub.url else [*identity.hub_urls, identity.hub_url]
    )
    found = await asyncio.to_thread(collect, hubs, settings.engine_sockets)
    info = NodeInfo(
        name=identity.name,
        labels=identity.labels,
        version=__version__,
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        boot_id=clock.boot_id(),
        started_at=clock.wall_ns(),
        inventory=found,
    )
    guard = Guard("introducing this node to the hub", clock, host.chance)
    while not await guard.run(partial(store.put, "node", identity.node_id, encode(info))):
        pass
