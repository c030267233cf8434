"""The listener for nodes with certificates: its socket, its authority, its TLS, and their upkeep. ADR 24."""

from __future__ import annotations

import functools
import logging
import random
import socket
from collections.abc import Awaitable, Callable

from litestar import Litestar

from skerry.hub.app import Features
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.http_protocol import Listener
from skerry.hub.link import Links
from skerry.hub.settings import HubSettings
from skerry.hub.store.hub_store import HubStore
from skerry.hub.trust.authority import Authority, open_authority
from skerry.hub.trust.certificates import trust_domain
from skerry.hub.trust.files import TrustFiles
from skerry.hub.trust.server_tls import ServerTls
from skerry.hub.web_server import Keepalive, SecureServer, address_of, configure
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.reception import RequestLimits
from skerry.kit.tasks import Guard, Tasks

log = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds between two looks whether a certificate is to be renewed, and who has not heard of new roots."""


class NodesListener:
    """`address` is what nodes are told."""

    def __init__(
        self, settings: HubSettings, bound: socket.socket, authority: Authority, clock: Clock
    ) -> None:
        self.address = (settings.nodes.address or address_of(bound, "https")).rstrip("/")
        self.authority = authority
        self.socket = bound
        self._clock = clock
        self._tls = ServerTls(authority, clock)

    def server(self, app: Litestar, keepalive: Keepalive, limits: RequestLimits) -> SecureServer:
        """The web server that answers nodes."""
        shared = Listener(limits, by_certificate=True)
        config = configure(app, keepalive, shared)
        return SecureServer(config, self.address, self._tls, shared)

    async def look(self, nodes: Nodes, links: Links) -> None:
        """Renews what is due, takes the roots that the fleet has now, and has nodes greet that do not have them."""
        await self.authority.look()
        if self._tls.look():
            log.info("the listener for nodes has a new certificate")
        number = self.authority.bundle.number
        for node_id in links.nodes:
            if nodes.keys.trust.get(node_id, number) < number:
                links.end_for_news(node_id)

    def follow(self, features: Features, tasks: Tasks, chance: random.Random) -> None:
        """Looks for as long as the tasks run."""
        guard = Guard("certificates", self._clock, chance)
        look = functools.partial(self.look, features.nodes, features.links)
        tasks.forever(self._run(guard, look), name="certificates")

    async def _run(self, guard: Guard, look: Callable[[], Awaitable[None]]) -> None:
        bell, seen = self.authority.changed, self.authority.changed.count
        while True:
            seen = await bell.within(seen, LOOK_EVERY, self._clock)
            await guard.run(look)


async def open_listener(
    settings: HubSettings, bound: socket.socket, store: HubStore, clock: Clock, disk: Disk
) -> NodesListener:
    """The fleet's authority is there, and this hub has its certificate. Raises as `open_authority`."""
    files = TrustFiles(settings.data_dir, disk)
    authority = await open_authority(files, store, trust_domain(settings.fleet), clock)
    return NodesListener(settings, bound, authority, clock)
