"""The hub's audit log: entries at the end of one chain, whichever hub process of the database writes them.

See docs/operate/audit.md and ADR 23.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from skerry.core.audit_chain import GENESIS, entry_hash
from skerry.core.audit_entries import Deed, entry_of
from skerry.hub.store import facts, locks
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, audit
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput
from skerry.wire.audit import AuditEntry, AuditHead, AuditPage, AuditRow

MAX_PAGE = 1000


class AuditLog:
    """The audit log of one fleet."""

    def __init__(self, store: HubStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, deed: Deed) -> int:
        """Puts an entry at the end; returns its number once it is durable. Raises as `HubStore.write`."""
        at = self._clock.wall_ns()

        def work(connection: Connection) -> int:
            locks.of_audit(connection)
            head = head_of(connection)
            entry = entry_of(deed, head, at)
            row = msgspec.structs.asdict(entry) | {"fleet_id": FLEET, "hash": entry_hash(entry)}
            connection.execute(audit.insert(), row)
            return entry.seq

        return await self._store.write_last(work)

    async def head(self) -> AuditHead:
        """The end of the chain as it is now."""
        return await self._store.read(head_of)

    async def page(self, after: int, limit: int) -> AuditPage:
        """Up to `limit` entries that come after number `after`. Raises InvalidInput."""
        if after < 0 or not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(
                f"cannot read the audit log: «after» is a number from 0, «limit» one from 1 to {MAX_PAGE}"
            )

        return await self._store.read(lambda connection: page_of(connection, after, limit))


def head_of(connection: Connection) -> AuditHead:
    """The last entry's number and hash."""
    its = audit.c
    last = select(its.seq, its.hash).where(its.fleet_id == FLEET).order_by(its.seq.desc()).limit(1)
    row = connection.execute(last).one_or_none()
    return GENESIS if row is None else AuditHead(row.seq, row.hash)


def page_of(connection: Connection, after: int, limit: int) -> AuditPage:
    """Up to `limit` entries after number `after`, as they are stored."""
    its, names = audit.c, AuditEntry.__struct_fields__
    query = select(audit).where(its.fleet_id == FLEET, its.seq > after)
    rows = connection.execute(query.order_by(its.seq).limit(limit)).mappings()
    entries = [
        AuditRow(AuditEntry(**{name: row[name] for name in names}), row["hash"]) for row in rows
    ]
    return AuditPage(facts.hub_id(connection), head_of(connection), entries)
