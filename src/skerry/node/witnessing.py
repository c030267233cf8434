"""Builds what enters what people do here, and what tells the hub of it where there is one."""

from __future__ import annotations

from skerry.node.audit.desk import AuditDesk
from skerry.node.audit.exchange import Exchange
from skerry.node.host import Host
from skerry.node.hub_way import HubWay
from skerry.node.node_settings import NodeSettings
from skerry.node.store.opening import OpenedStore
from skerry.node.store.own_events import OwnEvents
from skerry.node.sync.sync import Sync
from skerry.wire.audit import AuditPush, AuditPushReply


def build_audit(
    settings: NodeSettings,
    way: HubWay,
    store: OpenedStore,
    sync: Sync,
    events: OwnEvents,
    host: Host,
) -> AuditDesk:
    """The audit log of this node."""
    exchange = _exchange(way, store, sync, events, host)
    audit = store.state.audit
    return AuditDesk(audit, settings.data_dir, host.disk, host.clock, host.chance, exchange)


def _exchange(
    way: HubWay, store: OpenedStore, sync: Sync, events: OwnEvents, host: Host
) -> Exchange | None:
    if way.account is None:
        return None
    uplink, credentials = way.uplink(way.account), way.credentials

    async def ask(push: AuditPush) -> AuditPushReply:
        return await uplink.ask("audit", push, AuditPushReply, what="tell of the audit log")

    return Exchange(
        store.state.audit, store.reader, way.account.node_id, ask,
        sign=None if credentials is None or credentials.leaf is None else credentials.sign, tell=events.tell, is_linked=lambda: sync.reachability.connected,
        clock=host.clock, chance=host.chance,
    )  # fmt: skip
