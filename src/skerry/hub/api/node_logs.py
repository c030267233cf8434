"""Nodes' audit logs over HTTP: what nodes tell of them, and what `skerry audit … --node` asks. See docs/operate/audit.md."""

from __future__ import annotations

import logging

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from skerry.core.audit_entries import Deed
from skerry.hub.api.auditing import note
from skerry.hub.api.auth import CONFIGURE, NODE, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.changes import Changes
from skerry.hub.trust.audit import MAX_PAGE, AuditLog
from skerry.hub.trust.node_logs import NodeLogs
from skerry.wire.audit import (
    AcceptNodeLog,
    AuditPage,
    AuditPush,
    AuditPushReply,
    NodeLogView,
    Witnesses,
)

log = logging.getLogger(__name__)


@post("/sync/v1/audit", dto=WireBody[AuditPush], return_dto=None, status_code=200, opt=NODE)
async def push_audit(
    request: AuthenticatedRequest,
    data: JSONBody[AuditPush],
    node_logs: NamedDependency[NodeLogs],
    audit: NamedDependency[AuditLog],
    changes: NamedDependency[Changes],
) -> AuditPushReply:
    """Takes a head of the node's audit log and entries of it, and says how far the hub has them and its own."""
    reply = await node_logs.take(request.user.id, data)
    if reply.finding:
        log.error(
            "the audit log of node %s contradicts what was kept: %s", request.user.id, reply.finding
        )
        changes.announce()
        deed = Deed(
            "hub",
            "",
            "node_log_contradicted",
            request.user.id,
            outcome="failed",
            detail=reply.finding,
        )
        await audit.add(deed)
    return reply


@get("/api/v1/nodes/{node:str}/audit", opt=CONFIGURE)
async def read_node_audit(
    node: FromPath[str],
    node_logs: NamedDependency[NodeLogs],
    after: FromQuery[int] = 0,
    limit: FromQuery[int] = MAX_PAGE,
) -> AuditPage:
    """Entries of a node's audit log that come after number `after`, the oldest first, as far as the hub has them."""
    return await node_logs.page(node, after, limit)


@get("/api/v1/nodes/{node:str}/audit/heads", opt=CONFIGURE)
async def read_node_heads(node: FromPath[str], node_logs: NamedDependency[NodeLogs]) -> NodeLogView:
    """How long a node's audit log is by what it has told, and what was found to contradict that."""
    return await node_logs.view(node)


@post(
    "/api/v1/nodes/{node:str}/audit/accept",
    dto=WireBody[AcceptNodeLog],
    return_dto=None,
    status_code=200,
    opt=CONFIGURE,
)
async def accept_node_audit(
    request: AuthenticatedRequest,
    node: FromPath[str],
    data: JSONBody[AcceptNodeLog],
    node_logs: NamedDependency[NodeLogs],
) -> NodeLogView:
    """Takes what a node tells now for right: what was found before is no problem of its any more."""
    note(request, f"branch {data.branch}")
    return await node_logs.accept(node, data.branch, request.user.id)


@get("/api/v1/audit/witnesses", opt=CONFIGURE)
async def read_witnesses(node_logs: NamedDependency[NodeLogs]) -> Witnesses:
    """The heads of the hub's own audit log that nodes keep, as they showed them last."""
    return await node_logs.witnesses()


def node_log_routes() -> Router:
    """Every route of people about nodes' audit logs."""
    return Router(
        "/",
        route_handlers=[
            read_node_audit, read_node_heads, accept_node_audit, read_witnesses,
        ],
    )  # fmt: skip
