"""How far the hub holds each lane of each node's incarnation, and has it in a backup."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from skerry.hub.store.engine import insert
from skerry.hub.store.tables import lane
from skerry.wire.sync import LANES, Lane, LanePoint


@dataclass(frozen=True)
class Held:
    """One lane: the point that is durable here, and the number up to which a verified backup has it."""

    point: LanePoint
    backed_up: int = 0


def read(connection: Connection, node_id: str, incarnation: str) -> dict[Lane, Held]:
    """Every lane; one that nothing was received on stands at its beginning."""
    query = select(lane.c.lane, lane.c.n, lane.c.chain, lane.c.backed_up).where(
        lane.c.node_id == node_id, lane.c.incarnation == incarnation
    )
    found = {
        row.lane: Held(LanePoint(row.n, row.chain), row.backed_up)
        for row in connection.execute(query)
    }
    return {name: found.get(name, Held(LanePoint())) for name in LANES}


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
