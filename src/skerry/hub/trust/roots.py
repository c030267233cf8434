"""The fleet's roots in the database: which there are, and what nodes are to believe. Jobs for a connection."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from skerry.hub.store import locks
from skerry.hub.store.notices import Trust, tell
from skerry.hub.store.tables import FLEET
from skerry.hub.store.trust_tables import trust_root
from skerry.kit.errors import Refused
from skerry.wire.trust import TrustBundle


class Root(msgspec.Struct, frozen=True):
    """One of the fleet's roots."""

    number: int
    pem: str
    added_at: int
    retired_at: int | None = None


def read(connection: Connection) -> list[Root]:
    """All of them, the oldest first."""
    query = select(trust_root).where(trust_root.c.fleet_id == FLEET).order_by(trust_root.c.number)
    rows = connection.execute(query)
    return [Root(row.number, row.pem, row.added_at, row.retired_at) for row in rows]


def bundle(roots: list[Root]) -> TrustBundle:
    """What is believed; its number rises with every root that comes or goes."""
    gone = sum(root.retired_at is not None for root in roots)
    return TrustBundle(len(roots) + gone, [root.pem for root in roots if root.retired_at is None])


def join(connection: Connection, pem: str, now: int) -> Root:
    """This hub's root among the fleet's; the first one of a fleet begins the list. Raises Refused."""
    locks.of_fleet(connection)
    roots = read(connection)
    mine = next((root for root in roots if root.pem == pem), None)
    if mine is None and roots:
        raise Refused(
            "cannot start: the root of trust in this hub's data directory is none of the fleet's. All hubs of one "
            "database need the same: share the data directory, or copy its directory «trust»."
        )
    if mine is None:
        return add(connection, pem, now)
    if mine.retired_at is not None:
        raise Refused(
            f"cannot start: the root of trust in this hub's data directory (number {mine.number}) is retired. Copy the "
            "directory «trust» of a hub that has the current one."
        )
    return mine


def add(connection: Connection, pem: str, now: int) -> Root:
    """A further root that is believed from now on."""
    roots = read(connection)
    root = Root(roots[-1].number + 1 if roots else 1, pem, now)
    row = {"fleet_id": FLEET, "number": root.number, "pem": pem, "added_at": now}
    connection.execute(trust_root.insert(), row)
    tell(connection, Trust())
    return root
