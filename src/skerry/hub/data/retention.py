"""Removes what the hub has kept long enough: records by age and kind, what only they named, old changes.

A record's age counts from when the hub received it, so a device with a wrong clock loses nothing. All
records of a batch have the same age and go together, in steps that keep the writer busy only briefly.
PostgreSQL's records lie in partitions by their own time (`store.partitions`): one whose time is over goes as a whole
when all in it is old enough; what stays behind in it, or lies outside all partitions, goes in steps. Rules for names
(`data.stream_retention`) may keep single streams longer or shorter than their kind: then whole batches and partitions
go at the longest age that a stream of their kind has, and all other streams one by one before.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Table, delete, select, tuple_

from skerry.core.stream_rules import NO_RULES, Rules
from skerry.hub.data.dictionary import REFRESH
from skerry.hub.data.stream_retention import Stream, StreamRetention
from skerry.hub.store import changes, partitions, shared, shared_pruning
from skerry.hub.store.engine import insert
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import batch, meta, record, retention_removed, series, session
from skerry.kit.clock import NS
from skerry.kit.errors import Transient
from skerry.wire.records import Kind

log = logging.getLogger(__name__)

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

    def __init__(self, store: HubStore, ages: Ages, rules: Rules = NO_RULES) -> None:
        self._store = store
        kinds: dict[Kind, float] = {
            "measurement": ages.measurement,
            "event": ages.event,
            "gap": ages.gap,
            "file": ages.file,
        }
        self._ages = {kind: int(age * NS) for kind, age in kinds.items()}
        self._streams = StreamRetention(store, self._ages, rules)
        self._rules = rules
        ruled = [int(rule.keep * NS) for rule in rules.ordered if rule.keep is not None]
        self._longest = {kind: max([age, *ruled]) for kind, age in self._ages.items()}

    @property
    def ages(self) -> Mapping[Kind, int]:
        """How long (ns) records of each kind are kept where no rule fits."""
        return self._ages

    @property
    def has_rules(self) -> bool:
        """Whether there are rules for names."""
        return bool(self._rules)

    async def streams(self) -> list[Stream]:
        """Every series with what holds for it."""
        return await self._streams.streams()

    async def prepare(self, now: int) -> None:
        """Creates the partitions that the coming records need; without them they are kept too, but go row by row."""
        if not self._store.shared:
            return
        for kind, age in self._longest.items():
            create = partial(partitions.create, kind=kind, age=age, now=now)
            try:
                made = await self._store.write(create)
            except Transient as error:
                log.info("cannot create partitions of «%s» now: %s", kind, error)
            else:
                if made:
                    log.info("created %d partitions for records of kind «%s»", made, kind)

    async def sweep(self, now: int) -> int:
        """Removes what is too old at `now` (ns since 1970); returns how many records that were."""
        removed: Counter[str] = Counter()
        sweep = self._sweep_partitions if self._store.shared else self._sweep_records
        streams = await self._streams.streams() if self._rules else []
        for kind, usual in self._ages.items():
            of_kind = [stream for stream in streams if stream.kind == kind]
            longest = max((stream.age for stream in of_kind), default=usual)
            # A file has a row beside its record, which only the way by streams removes with it.
            apart = of_kind if kind == "file" else _apart(of_kind, longest)
            removed.update(await self._streams.sweep(kind, apart, now))
            removed[f"{kind}s"] += await sweep(kind, now - longest)
        if any(removed.values()):
            await self._store.write(partial(_count, removed=+removed, now=now))
        oldest = max(self._longest.values())
        unused = now - oldest - 2 * REFRESH
        if self._store.shared:
            unused -= partitions.AHEAD + 2 * partitions.width(oldest)
        for table in (series, session, meta):
            await self._sweep_dictionary(table, unused)
        while await self._store.write(
            lambda connection: changes.prune(connection, now - CHANGES_KEPT, _STEP_ROWS)
        ):
            pass
        while await self._store.write(
            lambda connection: shared_pruning.prune(connection, now - shared.HORIZON, _STEP_ROWS)
        ):
            pass
        return removed.total()

    async def _sweep_records(self, kind: Kind, before: int) -> int:
        removed = 0
        more = True
        while more:
            count, more = await self._store.write(
                lambda connection: _expire(connection, kind, before)
            )
            removed += count
        return removed

    async def _sweep_partitions(self, kind: Kind, before: int) -> int:
        held = await self._store.read(lambda connection: partitions.read(connection, kind))
        removed, late = 0, [partitions.default_of(kind)]
        for part in held:
            if part.upper > before:
                continue
            dropped = await self._drop(kind, part, before)
            removed += dropped or 0
            if dropped is None and part.upper < before - partitions.width(self._ages[kind]):
                late.append(part.table)
        for table in late:
            expire = partial(
                partitions.expire, kind=kind, table=table, before=before, limit=_STEP_RECORDS
            )
            while gone := await self._store.write(expire):
                removed += gone
        batches = partial(partitions.expire_batches, kind=kind, before=before, limit=_STEP_RECORDS)
        while await self._store.write(batches):
            pass
        return removed

    async def _drop(self, kind: Kind, part: partitions.Partition, before: int) -> int | None:
        drop = partial(partitions.drop, kind=kind, part=part, before=before)
        try:
            return await self._store.write(drop)
        except Transient as error:  # somebody reads it for longer than a drop may wait
            log.info("cannot drop partition %s now: %s", part.table, error)
            return 0

    async def _sweep_dictionary(self, table: Table, before: int) -> None:
        query = select(table.c.id).where(table.c.used_at < before)
        ids = await self._store.read(lambda connection: connection.execute(query).scalars().all())
        for start in range(0, len(ids), _STEP_ROWS):
            step = ids[start : start + _STEP_ROWS]
            unused = delete(table).where(table.c.id.in_(step), table.c.used_at < before)
            await self._store.write(partial(Connection.execute, statement=unused))


def _apart(streams: Iterable[Stream], longest: int) -> list[Stream]:
    """Those of which something may have to go that the longest age of their kind leaves."""
    return [stream for stream in streams if stream.age < longest or stream.bytes is not None]


def _count(connection: Connection, removed: Mapping[str, int], now: int) -> None:
    """What was removed and why is told for ever (`skerry hub storage`)."""
    statement = insert(connection, retention_removed)
    counted = retention_removed.c.records + statement.excluded.records
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["rule"], set_={"records": counted, "last_at": now}
        ),
        [{"rule": rule, "records": count, "last_at": now} for rule, count in removed.items()],
    )


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
