"""Jobs that one of several hub processes does: who holds a job's lease may do it now.

Leases run by the database's clock. They save work and protect nothing: a process that was stopped may go on after
its lease, so every job must be right when two processes do it.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, or_

from skerry.hub.store.database_time import database_time
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import lease
from skerry.kit.clock import NS


class Leases:
    """The leases of one process. On SQLite there is no other: it holds all."""

    def __init__(self, store: HubStore) -> None:
        self._store = store

    async def hold(self, name: str, seconds: float) -> bool:
        """Takes or renews a lease for so long; False while another process has it."""
        if not self._store.shared:
            return True
        return await self._store.write(lambda connection: self._hold(connection, name, seconds))

    async def release(self) -> None:
        """Gives back all leases, at the end of the process."""
        if self._store.shared:
            mine = delete(lease).where(lease.c.holder == self._store.origin)
            _ = await self._store.write(lambda connection: connection.execute(mine))

    def _hold(self, connection: Connection, name: str, seconds: float) -> bool:
        now = database_time()
        row = {"holder": self._store.origin, "until": now + int(seconds * NS)}
        statement = insert(connection, lease).values(name=name, **row)
        taken = statement.on_conflict_do_update(
            index_elements=["name"],
            set_=row,
            where=or_(lease.c.holder == self._store.origin, lease.c.until < now),
        )
        return connection.execute(taken.returning(lease.c.name)).one_or_none() is not None
