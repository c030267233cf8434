"""The fleet's roots in the database: which there are, and what nodes are to believe. Jobs for a connection."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, func, select, update

from skerry.hub.store import locks
from skerry.hub.store.notices import Trust, tell
from skerry.hub.store.tables import FLEET, hub_process, node
from skerry.hub.store.trust_tables import trust_root
from skerry.kit.clock import NS
from skerry.kit.errors import Refused
from skerry.wire.trust import TrustBundle

RENEWABLE = 90 * 86_400 * NS
"""For so long after its certificate's end a node may renew it: devices are switched off over a winter."""

_ALIVE = 86_400 * NS
"""A hub process that was seen within it may still hang on its root."""


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


def begin_change(connection: Connection, pem: str, current: int, now: int) -> None:
    """One more root beside the `current` one. Raises Refused when there is one already."""
    locks.of_fleet(connection)
    if any(root.number > current and root.retired_at is None for root in read(connection)):
        raise Refused(
            "cannot change the root of trust: a change is under way. Look how far it is with «skerry hub ca show», and end "
            "it: skerry hub ca rotate --finish."
        )
    add(connection, pem, now)


def hanging(connection: Connection, now: int) -> dict[int, int]:
    """How many nodes have a certificate that hangs on each root and may still be renewed."""
    query = (
        select(node.c.certificate_root.label("number"), func.count().label("nodes"))
        .where(node.c.key_hash != "", node.c.certificate_expires_at > now - RENEWABLE)
        .group_by(node.c.certificate_root)
    )
    return {row.number: row.nodes for row in connection.execute(query)}


def behind(connection: Connection, number: int, now: int) -> list[str]:
    """The nodes, by name, that have been seen lately and do not have the bundle of this number."""
    query = (
        select(node.c.name)
        .where(
            node.c.key_hash != "",
            node.c.trust_number < number,
            node.c.last_seen > now - RENEWABLE,
        )
        .order_by(node.c.name)
    )
    return list(connection.execute(query).scalars())


def unused(connection: Connection, current: int, now: int) -> list[int]:
    """Former roots that nobody hangs on: no node, and no hub process."""
    held = hanging(connection, now)
    hubs = select(hub_process.c.root).where(hub_process.c.seen_at > now - _ALIVE)
    held |= dict.fromkeys(connection.execute(hubs).scalars(), 1)
    return [
        root.number
        for root in read(connection)
        if root.number < current and root.retired_at is None and not held.get(root.number)
    ]


def retire(connection: Connection, current: int, now: int) -> list[int]:
    """Nobody believes unused former roots any more; returns their numbers."""
    locks.of_fleet(connection)
    gone = unused(connection, current, now)
    for number in gone:
        its = (trust_root.c.fleet_id == FLEET, trust_root.c.number == number)
        connection.execute(update(trust_root).where(*its).values(retired_at=now))
        tell(connection, Trust())
    return gone


def add(connection: Connection, pem: str, now: int) -> Root:
    """A further root that is believed from now on."""
    roots = read(connection)
    root = Root(roots[-1].number + 1 if roots else 1, pem, now)
    row = {"fleet_id": FLEET, "number": root.number, "pem": pem, "added_at": now}
    connection.execute(trust_root.insert(), row)
    tell(connection, Trust())
    return root
