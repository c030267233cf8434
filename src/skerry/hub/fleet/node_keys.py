"""The keys that nodes prove with their certificates: whose is whose, and what was issued for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy import Connection, select, update

from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import node


class Issued(msgspec.Struct, frozen=True):
    """A certificate for a node (PEM, leaf before intermediate), its key, and the number of the root that it hangs on.

    `trust` is the number of the bundle that goes with it.
    """

    certificate: str
    key_hash: str
    serial: str
    expires_at: int
    root: int
    trust: int = 0

    def row(self) -> dict[str, object]:
        """As the table of nodes has it."""
        return {
            "key_hash": self.key_hash,
            "certificate_serial": self.serial,
            "certificate_expires_at": self.expires_at,
            "certificate_root": self.root,
        }


Issue = Callable[[str], Issued]
"""Makes a certificate for the node of this id, for the key that asks."""


Read = Callable[[Callable[[Connection], str | None]], Awaitable[str | None]]
"""Reads what the database has, as of no time before a withdrawal that came to be known meanwhile."""


class NodeKeys:
    """`known` has the key of every node in memory, by its id, empty where it has none; `trust` the number of its bundle."""

    def __init__(self, store: HubStore, read: Read) -> None:
        self._store = store
        self._read = read
        self.known: dict[str, str] = {}
        self.trust: dict[str, int] = {}

    async def has(self, node_id: str, key_hash: str) -> bool:
        """Whether this is the node's key; looks into the database when another hub process may have let it in."""
        if self.known.get(node_id) == key_hash:
            return True
        if not self._store.shared:
            return False
        query = select(node.c.key_hash).where(node.c.id == node_id, node.c.revoked_at.is_(None))
        found = await self._read(lambda connection: connection.execute(query).scalar())
        if found != key_hash:
            return False
        self.known[node_id] = found
        return True

    def changed(self, node_id: str) -> None:
        """Another hub process has let the node in anew: its key is looked up at its next request."""
        self.known.pop(node_id, None)

    async def renewed(self, node_id: str, issued: Issued) -> None:
        """Notes a further certificate for the same key."""
        statement = update(node).where(node.c.id == node_id, node.c.key_hash == issued.key_hash)
        statement = statement.values(issued.row())
        _ = await self._store.write(lambda connection: connection.execute(statement))

    async def told(self, node_id: str, trust: int) -> None:
        """Notes which bundle the node says that it has. Writes only when that is news."""
        if self.trust.get(node_id) == trust:
            return
        statement = update(node).where(node.c.id == node_id, node.c.trust_number != trust)
        statement = statement.values(trust_number=trust)
        _ = await self._store.write(lambda connection: connection.execute(statement))
        self.trust[node_id] = trust
