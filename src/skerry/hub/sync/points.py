"""How far the hub holds each lane of each node's incarnation."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from skerry.hub.store.engine import insert
from skerry.hub.store.tables import lane
from skerry.wire.sync import LANES, Lane, LanePoint


def read(connection: Connection, node_id: str, incarnation: str) -> dict[Lane, LanePoint]:
    """The point of every lane; one that nothing was received on stands at its beginning."""
    found = {
        row.lane: LanePoint(row.n, row.chain)
        for row in connection.execute(
            select(lane.c.lane, lane.c.n, lane.c.chain).where(
                lane.c.node_id == node_id, lane.c.incarnation == incarnation
            )
        )
    }
    return {name: found.get(name, LanePoint()) for name in LANES}


def write(
    connection: Connection, node_id: str, incarnation: str, name: Lane, point: LanePoint, at: int
) -> None:
    """Moves a lane's point. `at` is in ns since 1970."""
    moved = {"n": point.n, "chain": point.chain, "updated_at": at}
    connection.execute(
        insert(connection, lane)
        .values(node_id=node_id, incarnation=incarnation, lane=name, **moved)
        .on_conflict_do_update(index_elements=["node_id", "incarnation", "lane"], set_=moved)
    )


def highest(connection: Connection, node_id: str, name: Lane) -> int:
    """The highest number that any incarnation of the node reached on this lane."""
    query = select(func.max(lane.c.n)).where(lane.c.node_id == node_id, lane.c.lane == name)
    return connection.execute(query).scalar() or 0
