"""The node's one link: to which hub, as whom, by which proxies, and in whose turn. Everything that uses it is given this.

`agent` makes it. Without limits in the settings there are no turns, and nothing of them is loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from skerry.kit.clock import Clock
from skerry.kit.sealing.cipher import Cipher
from skerry.node.host import Host
from skerry.node.hub_addresses import HubAccount
from skerry.node.identity import Identity
from skerry.node.node_settings import NodeSettings, Proxies
from skerry.node.store.state import NodeStore
from skerry.node.sync.connections import open_session
from skerry.node.sync.pace import Tell
from skerry.node.sync.sync import Sync
from skerry.node.sync.uplink import HttpUplink
from skerry.wire.local import LaneCounters
from skerry.wire.sync import Lane

if TYPE_CHECKING:
    from skerry.node.channel_port import ChannelService
    from skerry.node.sync.turns import LinkTurns
    from skerry.node.trust.credentials import Credentials
    from skerry.node.trust.renewal import Renewal
    from skerry.wire.shared import Priority


class Sessions(msgspec.Struct, frozen=True):
    """Connections to the hub, and to everybody else. `credentials`: the hub is met by our own roots only, and shown those."""

    hub: aiohttp.ClientSession
    world: aiohttp.ClientSession
    credentials: Credentials | None = None


@contextlib.asynccontextmanager
async def open_sessions(
    settings: NodeSettings, identity: Identity | None, cipher: Cipher, host: Host
) -> AsyncIterator[Sessions]:
    """Raises InvalidInput (settings), or Refused: what this node proves itself by cannot be used."""
    async with open_session(ca_file=settings.hub.ca_file) as world:
        if identity is None or not identity.certificate:
            yield Sessions(world, world)
            return
        from skerry.node.trust.credentials import Credentials  # noqa: PLC0415 - only where there are certificates
        from skerry.node.trust.files import TrustFiles  # noqa: PLC0415

        files = TrustFiles(settings.data_dir, host.disk, cipher)
        files.seal()
        credentials = Credentials(files, host.clock, settings.trust.key)
        async with open_session(tls=credentials.context) as hub:
            yield Sessions(hub, world, credentials)


CRITICAL_ONLY = "the settings say so (sync.network.critical_only)"


class HubWay:
    """`account` is None on a node without a hub; `turns` is None where nobody has to wait.

    `session` goes to the hub and nowhere else; who asks others takes `world`. `services` are those of the channels that
    the hub opens, which `on_demand` adds to; `held` says why no bytes of people's may travel, or nothing.
    """

    def __init__(  # noqa: PLR0913 - all that goes over it
        self,
        session: aiohttp.ClientSession,
        world: aiohttp.ClientSession,
        account: HubAccount | None,
        proxies: Proxies,
        turns: LinkTurns | None,
        credentials: Credentials | None = None,
        *,
        held: Callable[[], str] = lambda: "",
    ) -> None:
        self.services: dict[str, Callable[[], ChannelService]] = {}
        self.held = held
        self.session = session
        self.world = world
        self.account = account
        self.proxies = proxies
        self.turns = turns
        self.credentials = credentials

    def uplink(
        self,
        account: HubAccount,
        priority: Priority = "high",
        counts: Mapping[Lane, LaneCounters] | None = None,
    ) -> HttpUplink:
        """Calls to the hub of this class; units are of their lane's."""
        return HttpUplink(
            self.session,
            account.addresses,
            account.node_id,
            account.secret,
            proxies=self.proxies,
            turns=self.turns,
            priority=priority,
            counts=counts,
        )


def build_way(
    settings: NodeSettings,
    account: HubAccount | None,
    sessions: Sessions,
    facts: NodeStore,
    clock: Clock,
    tell: Tell,
) -> HubWay:
    """The link as the settings want it; `tell` hears when most of a month's bytes are used."""
    turns = _turns(settings, facts, clock, tell)

    def held() -> str:
        return turns.held if turns is not None and settings.access.priority != "high" else ""

    return HubWay(
        sessions.hub,
        sessions.world,
        account,
        settings.proxies,
        turns,
        sessions.credentials,
        held=held,
    )


def build_renewal(way: HubWay, sync: Sync, host: Host) -> Renewal | None:
    """What keeps this node's certificate fresh; None: it proves itself by none."""
    if way.account is None or way.credentials is None:
        return None
    from skerry.node.trust.renewal import Renewal as Loop  # noqa: PLC0415 - as above

    ask = way.uplink(way.account).renew
    refused = sync.reachability.refused
    return Loop(way.credentials, ask, refused, host.clock, host.chance)


def _turns(settings: NodeSettings, facts: NodeStore, clock: Clock, tell: Tell) -> LinkTurns | None:
    network = settings.sync.network
    if not network.is_limited:
        return None
    from skerry.node.sync.metering import Metered, Month  # noqa: PLC0415 - most nodes have no limit
    from skerry.node.sync.turns import LinkTurns as Turns  # noqa: PLC0415

    metered = Metered(network.metered, clock)

    def held() -> str:
        return CRITICAL_ONLY if network.critical_only else metered.cause()

    month = Month(facts, network.monthly_cap, clock, tell)
    return Turns(network.max_bandwidth, held, month, clock, settings.access.priority)
