"""What a node tells its hub about itself, once for each start of its agent."""

from __future__ import annotations

import platform
from functools import partial

from skerry import __version__
from skerry.kit.tasks import Guard
from skerry.node.host import Host
from skerry.node.identity import Identity
from skerry.node.store.state import NodeStore
from skerry.wire.codec import encode
from skerry.wire.workload import NodeInfo


async def introduce(identity: Identity | None, store: NodeStore, host: Host) -> None:
    """What the hub shows about this node; it changes with the version and the boot. Workloads do not wait for it."""
    clock = host.clock
    if identity is None:
        return
    info = NodeInfo(
        name=identity.name,
        labels=identity.labels,
        version=__version__,
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        boot_id=clock.boot_id(),
        started_at=clock.wall_ns(),
    )
    guard = Guard("introducing this node to the hub", clock, host.chance)
    while not await guard.run(partial(store.put, "node", identity.node_id, encode(info))):
        pass
