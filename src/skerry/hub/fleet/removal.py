"""Forgetting a node: the one place that says what goes with it. Its records stay."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from skerry.hub.fleet.tokens import forget_uses
from skerry.hub.store import changes
from skerry.hub.store.device_tables import device
from skerry.hub.store.notices import Deleted, tell
from skerry.hub.store.tables import FLEET, lane, node, state


def remove(connection: Connection, node_id: str) -> None:
    """Forgets a node, within the caller's transaction, which holds the fleet's lock. `Nodes.forget` follows its commit."""
    connection.execute(delete(node).where(node.c.id == node_id))
    connection.execute(delete(lane).where(lane.c.node_id == node_id))
    connection.execute(delete(state).where(state.c.fleet_id == FLEET, state.c.scope == node_id))
    connection.execute(delete(device).where(device.c.id == node_id))
    forget_uses(connection, node_id)
    changes.drop_scope(connection, node_id)
    tell(connection, Deleted(node_id))
