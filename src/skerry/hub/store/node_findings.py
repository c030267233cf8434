"""What nodes' audit logs were found to contradict and nobody has looked into yet: part of a node's view."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from skerry.hub.store.audit_tables import node_audit_accepted, node_audit_head


def open_findings(connection: Connection) -> dict[str, str]:
    """The newest finding of each node that has one, by its id."""
    heads, accepted = node_audit_head.c, node_audit_accepted
    through = (
        select(func.max(accepted.c.branch)).where(accepted.c.node_id == heads.node_id)
    ).scalar_subquery()
    query = (
        select(heads.node_id, heads.finding)
        .where(heads.finding != "", heads.branch >= func.coalesce(through, 0))
        .order_by(heads.n)
    )
    return {row.node_id: row.finding for row in connection.execute(query)}
