"""What has changed about each device, as it told: the newest changes of each, kept after its end."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from skerry.core.inventory_changes import differing
from skerry.hub.store.bodies import DEVICE_CHANGE, Bodies
from skerry.hub.store.device_tables import device_change
from skerry.hub.store.engine import insert
from skerry.hub.store.tables import FLEET
from skerry.wire.codec import decode, encode
from skerry.wire.inventory import Differing, InventoryChange
from skerry.wire.workload import NodeInfo

KEPT = 100
"""Changes of one device."""


def note_change(
    connection: Connection, node_id: str, before: NodeInfo | None, now: NodeInfo, at: int
) -> None:
    """Keeps what `now` has otherwise than `before`; `at` is in ns since 1970."""
    fields = [] if before is None else differing(before, now)
    if not fields:
        return
    body = Bodies.of(connection).seal(DEVICE_CHANGE, encode(fields), node_id, at)
    row = {"fleet_id": FLEET, "node_id": node_id, "at": at, "body": body}
    statement = insert(connection, device_change).values(**row)
    keys = ["fleet_id", "node_id", "at"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"body": body}))
    its = device_change.c
    newest = select(its.at).where(its.fleet_id == FLEET, its.node_id == node_id)
    oldest_kept = connection.execute(
        newest.order_by(its.at.desc()).offset(KEPT - 1).limit(1)
    ).scalar()
    if oldest_kept is not None:
        gone = delete(device_change).where(
            its.fleet_id == FLEET, its.node_id == node_id, its.at < oldest_kept
        )
        connection.execute(gone)


def read_history(connection: Connection, node_id: str) -> list[InventoryChange]:
    """The newest first."""
    its = device_change.c
    query = select(its.at, its.body).where(its.fleet_id == FLEET, its.node_id == node_id)
    bodies = Bodies.of(connection)
    return [
        InventoryChange(
            row.at,
            decode(
                bodies.open(DEVICE_CHANGE, row.body, node_id, row.at), list[Differing], "a change"
            ),
        )
        for row in connection.execute(query.order_by(its.at.desc()))
    ]
