"""The audit log over HTTP, for `skerry audit`. See docs/operate/audit.md."""

from __future__ import annotations

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from skerry.hub.api.auth import CONFIGURE
from skerry.hub.store.hub_store import HubStore
from skerry.hub.trust.audit import MAX_PAGE, AuditLog
from skerry.wire.audit import AuditHeadReply, AuditPage


@get("/api/v1/audit", opt=CONFIGURE)
async def read_audit(
    audit: NamedDependency[AuditLog],
    after: FromQuery[int] = 0,
    limit: FromQuery[int] = MAX_PAGE,
) -> AuditPage:
    """Entries of the audit log that come after number `after`, the oldest first, and the head of the chain."""
    return await audit.page(after, limit)


@get("/api/v1/audit/head", opt=CONFIGURE)
async def read_audit_head(
    audit: NamedDependency[AuditLog], store: NamedDependency[HubStore]
) -> AuditHeadReply:
    """How long the audit log is, and the hash of its last entry."""
    return AuditHeadReply(store.facts.hub_id, await audit.head())


def audit_routes() -> Router:
    """Every route about the audit log."""
    return Router("/", route_handlers=[read_audit, read_audit_head])
