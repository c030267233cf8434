"""Removes what the hub has kept long enough: records by age and kind, what only they named, old changes.

A record's age counts from when the hub received it, so a device with a wrong clock loses nothing. All
records of a batch have the same age and go together, in steps that keep the writer busy only briefly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Table, delete, select, tuple_

from skerry.hub.data.dictionary import REFRESH
from skerry.hub.store import changes
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import batch, meta, record, series, session
from skerry.kit.clock import NS
from skerry.wire.records import Kind

CHANGES_KEPT = 7 * 86400 * NS
"""How long (ns) a node may be away and still get only what changed, not its full set."""

_STEP_BATCHES = 500
_STEP_RECORDS = 5000
_STEP_ROWS = 1000


@dataclass(frozen=True)
class Ages:
    """How long the hub keeps each kind of record, in seconds since it received them."""

    measurement: float
    event: float
    gap: float
    file: float


class Retention:
    """Sweeps when told to; the hub's loop does so every few minutes."""

    def __init__(self, store: HubStore, ages: Ages) -> None:
        self._store = store
        kinds: dict[Kind, float] = {
            "measurement": ages.measurement,
            "event": ages.event,
            "gap": ages.gap,
            "file": ages.file,
        }
        self._ages = {kind: int(age * NS) for kind, age in kinds.items()}

    async def sweep(self, now: int) -> int:
        """Removes what is too old at `now` (ns since 1970); returns how many records that were."""
        removed = 0
        for kind, age in self._ages.items():
            removed += await self._sweep_records(kind, now - age)
        unused = now - max(self._ages.values()) - 2 * REFRESH
        for table in (series, session, meta):
            await self._sweep_dictionary(table, unused)
        while await self._store.write(
            lambda connection: changes.prune(connection, now - CHANGES_KEPT, _STEP_ROWS)
        ):
            pass
        return removed

    async def _sweep_records(self, kind: Kind, before: int) -> int:
        removed = 0
        more = True
        while more:
            count, more = await self._store.write(
                lambda connection: _expire(connection, kind, before)
            )
            removed += count
        return removed

    async def _sweep_dictionary(self, table: Table, before: int) -> None:
        query = select(table.c.id).where(table.c.used_at < before)
        ids = await self._store.read(lambda connection: connection.execute(query).scalars().all())
        for start in range(0, len(ids), _STEP_ROWS):
            step = ids[start : start + _STEP_ROWS]
            unused = delete(table).where(table.c.id.in_(step), table.c.used_at < before)
            await self._store.write(partial(Connection.execute, statement=unused))


def _expire(connection: Connection, kind: Kind, before: int) -> tuple[int, bool]:
    """One step: how many records were removed, and whether there may be more."""
    oldest = (
        select(batch.c.id)
        .where(batch.c.kind == kind, batch.c.received_at < before)
        .order_by(batch.c.received_at)
        .limit(_STEP_BATCHES)
    )
    batches = connection.execute(oldest).scalars().all()
    if not batches:
        return 0, False
    key = tuple_(*record.primary_key)
    some = select(*record.primary_key).where(record.c.batch_id.in_(batches)).limit(_STEP_RECORDS)
    removed = connection.execute(delete(record).where(key.in_(some))).rowcount
    if removed == _STEP_RECORDS:
        return removed, True
    connection.execute(delete(batch).where(batch.c.id.in_(batches)))
    return removed, len(batches) == _STEP_BATCHES
