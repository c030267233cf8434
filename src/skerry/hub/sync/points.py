"""How far the hub holds each lane of each node's incarnation, and has it in a backup."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from skerry.hub.store import bulk
from skerry.hub.store.tables import lane
from skerry.wire.sync import LANES, Lane, LanePoint

_LANES = select(lane.c.lane, lane.c.n, lane.c.chain, lane.c.backed_up).where(
    lane.c.node_id == bindparam("node_id"), lane.c.incarnation == bindparam("incarnation")
)


@dataclass(frozen=True)
class Held:
    """One lane: the point that is durable here, and the number up to which a verified backup has it."""

    point: LanePoint
    backed_up: int = 0


def read(connection: Connection, node_id: str, incarnation: str) -> dict[Lane, Held]:
    """Every lane; one that nothing was received on stands at its beginning."""
    asked = {"node_id": node_id, "incarnation": incarnation}
    found = {
        row.lane: Held(LanePoint(row.n, row.chain), row.backed_up)
        for row in connection.execute(_LANES, asked)
    }
    return {name: found.get(name, Held(LanePoint())) for name in LANES}


def write(
    connection: Connection, node_id: str, incarnation: str, name: Lane, point: LanePoint, at: int
) -> None:
    """Moves a lane's point. `at` is in ns since 1970."""
    row = (node_id, incarnation, name, point.n, point.chain, at, 0)
    bulk.put(connection, lane, [row], but=["backed_up"])


def highest(connection: Connection, node_id: str, name: Lane) -> int:
    """The highest number that any incarnation of the node reached on this lane."""
    query = select(func.max(lane.c.n)).where(lane.c.node_id == node_id, lane.c.lane == name)
    return connection.execute(query).scalar() or 0
