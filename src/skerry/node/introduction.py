"""What a node says about itself to its hub, which shows it and seals secrets to its key."""

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


class Introduction:
    """Of the agent that has just started; without an identity there is nobody to tell."""

    fingerprint = ""
    """The device's name among Cyberwave's twins; empty: it serves none."""

    def __init__(
        self, settings: NodeSettings, identity: Identity | None, store: NodeStore, host: Host
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._store = store
        self._host = host
        self._started_at = host.clock.wall_ns()

    async def insist(self, secrets_key: bytes) -> None:
        """As `tell`, until it is written."""
        guard = Guard("introducing this node to the hub", self._host.clock, self._host.chance)
        while not await guard.run(partial(self.tell, secrets_key)):
            pass

    async def tell(self, secrets_key: bytes) -> None:
        """Writes it for the hub. It changes with the version, the boot and the key of secrets (empty: none yet)."""
        identity = self._identity
        if identity is None:
            return
        from skerry.node.inventory import collect  # noqa: PLC0415 - now and then

        named = self._settings.hub.url
        hubs = named.split(",") if named else [*identity.hub_urls, identity.hub_url]
        found = await asyncio.to_thread(collect, hubs, self._settings.engine_sockets)
        info = NodeInfo(
            name=identity.name,
            labels=identity.labels,
            version=__version__,
            machine=platform.machine(),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            boot_id=self._host.clock.boot_id(),
            started_at=self._started_at,
            secrets_key=secrets_key,
            inventory=found,
            fingerprint=self.fingerprint,
        )
        await self._store.put("node", identity.node_id, encode(info))
