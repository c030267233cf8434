"""Removes records of single streams: rules by name (`core.stream_rules`), where the age of their kind does not hold.

A stream is a series: one name of one publisher on one node. Ages count from when the hub received a record; which are
the oldest of those above a rule's bytes is told by the records' own time. What is to go is looked for by a reader, a
few thousand keys at a time, and the writer deletes by key: pushes come in between. `data.retention` decides when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, select

from skerry.core.stream_rules import Rule, Rules
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import KINDS, batch, file, record, series
from skerry.kit.clock import NS
from skerry.wire.records import Kind

ROW_BYTES = 72
"""What a record of a number takes in the database with its indexes, about; a text comes on top."""

_DAY = 86_400 * NS
_STEP_KEYS = 1000
_BREATH = 0.02
"""Seconds that pushes have for themselves after each step."""
_SERIES_AT_ONCE = 200
_LOOKED_AT = 200
"""Texts of a series that tell how long they are."""

_ENOUGH = 10_000
"""Batches on either side of an age: in between lies what differs by the hubs' clocks only."""

_KEY = (record.c.series_id, record.c.at, record.c.session_id, record.c.counter)


@dataclass(frozen=True)
class Stream:
    """A series and for how long (ns) and how many bytes of it are kept. `why`: the rule, or the kind's setting."""

    id: int
    kind: Kind
    node_id: str
    source: str
    name: str
    age: int
    bytes: int | None
    why: str


class StreamRetention:
    """`ages` are those of each kind, in ns."""

    def __init__(self, store: HubStore, ages: Mapping[Kind, int], rules: Rules) -> None:
        self._store = store
        self._ages = ages
        self._rules = rules

    async def streams(self) -> list[Stream]:
        """Every series with what holds for it."""
        query = select(series.c.id, series.c.kind, series.c.node_id, series.c.source, series.c.name)
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return [self._stream(*row) for row in rows]

    def _stream(self, id_: int, kind: Kind, node_id: str, source: str, name: str) -> Stream:
        rule = self._rules.find(name) if kind != "gap" else None
        age = self._ages[kind] if rule is None or rule.keep is None else round(rule.keep * NS)
        most = None if rule is None else rule.bytes
        return Stream(id_, kind, node_id, source, name, age, most, _why(kind, rule))

    async def sweep(self, kind: Kind, streams: Iterable[Stream], now: int) -> dict[str, int]:
        """Removes of these streams what is over their age or above their bytes; returns how many records, by reason."""
        removed: dict[str, int] = {}
        classes: dict[tuple[int, str], list[int]] = {}
        for stream in streams:
            classes.setdefault((stream.age, stream.why), []).append(stream.id)
            if stream.bytes is not None:
                cut = await self._store.read(partial(_first_kept, stream=stream))
                if cut is not None:
                    over = _keys(kind, [stream.id]).where(record.c.at < cut)
                    gone = await self._remove(kind, over)
                    removed[stream.why] = removed.get(stream.why, 0) + gone
        for (age, why), ids in classes.items():
            for start in range(0, len(ids), _SERIES_AT_ONCE):
                some = ids[start : start + _SERIES_AT_ONCE]
                gone = await self._expire(kind, some, now - age)
                removed[why] = removed.get(why, 0) + gone
        return {why: count for why, count in removed.items() if count}

    async def _expire(self, kind: Kind, ids: Sequence[int], before: int) -> int:
        young = await self._store.read(partial(_first_young, kind=kind, before=before))
        # A device's clock may be fast by a day; what is further ahead goes with the longest age of its kind.
        old = _keys(kind, ids).where(record.c.at < before + _DAY, record.c.batch_id < young)
        return await self._remove(kind, old)

    async def _remove(self, kind: Kind, old: Select[tuple[int, int, int, int]]) -> int:
        removed = 0
        while keys := await self._store.read(
            lambda connection: connection.execute(old.limit(_STEP_KEYS)).all()
        ):
            removed += await self._store.write(partial(_delete, kind=kind, keys=keys))
            await asyncio.sleep(_BREATH)
        return removed


def _why(kind: Kind, rule: Rule | None) -> str:
    return f"{kind}s" if rule is None else str(rule)


def _keys(kind: Kind, ids: Sequence[int]) -> Select[tuple[int, int, int, int]]:
    return select(*_KEY).where(record.c.kind == KINDS.index(kind), record.c.series_id.in_(ids))


def _first_young(connection: Connection, kind: Kind, before: int) -> int:
    """The number from which on batches are young: they are numbered as they come, by clocks that differ little.

    Holds for what comes after this snapshot, too: that has a higher number than what is old in it.
    """
    of_kind = select(batch.c.id).where(batch.c.kind == kind).limit(_ENOUGH)
    young = of_kind.where(batch.c.received_at >= before).order_by(batch.c.received_at).subquery()
    old = of_kind.where(batch.c.received_at < before)
    old_ids = old.order_by(batch.c.received_at.desc()).subquery()
    last_old = connection.execute(select(func.max(old_ids.c.id))).scalar_one()
    if last_old is None:
        return 0
    first = connection.execute(select(func.min(young.c.id))).scalar_one()
    return int(last_old) + 1 if first is None else min(int(first), int(last_old) + 1)


def _first_kept(connection: Connection, stream: Stream) -> int | None:
    """The time before which records of a stream are above its bytes; None: all fit."""
    assert stream.bytes is not None  # noqa: S101 - who asks has looked
    if stream.kind == "file":
        return _first_kept_file(connection, stream, stream.bytes)
    of_it = (record.c.kind == KINDS.index(stream.kind), record.c.series_id == stream.id)
    texts = (
        select(func.coalesce(func.length(record.c.text), 0).label("size"))
        .where(*of_it)
        .order_by(record.c.at.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    size = float(connection.execute(select(func.avg(texts.c.size))).scalar_one() or 0)
    most = int(stream.bytes / (ROW_BYTES + size))
    newest = select(record.c.at).where(*of_it).order_by(record.c.at.desc())
    last = connection.execute(newest.offset(max(most - 1, 0)).limit(1)).scalar_one_or_none()
    return None if last is None else int(last)


def _first_kept_file(connection: Connection, stream: Stream, most: int) -> int | None:
    newest = (
        select(file.c.at, file.c.size)
        .where(file.c.node_id == stream.node_id, file.c.source == stream.source, file.c.name == stream.name)
        .order_by(file.c.at.desc())
    )  # fmt: skip
    size, kept = 0, None
    for at, one in connection.execute(newest):
        size += one
        if size > most:
            return int(at) + 1 if kept is None else kept
        kept = int(at)
    return None


def _delete(
    connection: Connection, kind: Kind, keys: Sequence[Row[tuple[int, int, int, int]]]
) -> int:
    """Deletes by whole key: each is one row in one partition."""
    names = [column.name for column in _KEY]
    rows = [{f"the_{name}": part for name, part in zip(names, key, strict=True)} for key in keys]
    here = [column == bindparam(f"the_{column.name}") for column in _KEY]
    connection.execute(delete(record).where(record.c.kind == KINDS.index(kind), *here), rows)
    if kind == "file":
        named = (
            file.c.session_id == bindparam("the_session_id"),
            file.c.counter == bindparam("the_counter"),
        )
        connection.execute(delete(file).where(*named), rows)
    return len(keys)
