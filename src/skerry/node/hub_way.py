"""The node's one link: to which hub, as whom, by which proxies, and in whose turn. Everything that uses it is given this.

`agent` makes it. Without limits in the settings there are no turns, and nothing of them is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp

from skerry.kit.clock import Clock
from skerry.node.access.set_up import read_set_up
from skerry.node.hub_addresses import HubAccount
from skerry.node.node_settings import NodeSettings, Proxies
from skerry.node.store.state import NodeStore
from skerry.node.sync.pace import Tell
from skerry.node.sync.uplink import HttpUplink
from skerry.wire.local import LaneCounters
from skerry.wire.sync import Lane

if TYPE_CHECKING:
    from skerry.node.ports import ChannelService
    from skerry.node.sync.channels import Services
    from skerry.node.sync.turns import LinkTurns
    from skerry.wire.shared import Priority

CRITICAL_ONLY = "the settings say so (sync.network.critical_only)"


class HubWay:
    """`account` is None on a node without a hub; `turns` is None where nobody has to wait.

    `services` are those of the channels that the hub opens.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        account: HubAccount | None,
        proxies: Proxies,
        turns: LinkTurns | None,
        services: Services | None = None,
    ) -> None:
        self.services = services or {}
        self.session = session
        self.account = account
        self.proxies = proxies
        self.turns = turns

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
    session: aiohttp.ClientSession,
    facts: NodeStore,
    clock: Clock,
    tell: Tell,
) -> HubWay:
    """The link as the settings want it; `tell` hears when most of a month's bytes are used."""
    turns = _turns(settings, facts, clock, tell)
    return HubWay(session, account, settings.proxies, turns, _services(settings, turns))


def _services(settings: NodeSettings, turns: LinkTurns | None) -> Services:
    access = settings.access

    def held() -> str:
        return turns.held if turns is not None and access.priority != "high" else ""

    def allowed() -> set[int]:
        set_up = read_set_up(settings.data_dir)
        ports = {int(port) for port in access.forward}
        return ports if set_up is None else ports | {set_up.port}

    def tunnel() -> ChannelService:
        from skerry.node.access.tunnel import Tunnels  # noqa: PLC0415 - most nodes serve none

        return Tunnels(allowed, held).serve

    return {"tunnel": tunnel}


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
