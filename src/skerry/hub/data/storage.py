"""What uses the hub's disk and why: tables or partitions, the files beside the database, the streams that take most.

Asked for by people (`skerry hub storage`), so it may take seconds: one report counts at a time, beside what nodes ask for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, FromClause, func, select, tablesample

from skerry.hub.data.retention import Retention
from skerry.hub.data.stream_retention import Stream
from skerry.hub.store import sizes
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import batch, node, record, retention_removed
from skerry.kit.clock import NS, Clock
from skerry.kit.units import format_duration, format_size
from skerry.wire.local import Growth
from skerry.wire.storage import Removed, StorageLine, StorageReport, StreamUse

LITTLE = 64 * 1024 * 1024
"""Bytes free on the hub's disk below which people should do something."""

_FULL = 1024 * 1024
_STREAMS = 200
_COUNTED = 1_000_000
"""So many records, the newest, are counted by stream; the rest is reckoned from them."""

_DAY = 86_400 * NS
_TABLES = {
    "change": "what nodes pull: a week of it",
    "state": "what nodes are told, and what they said last",
    "batch": "when records were accepted and received: as long as the longest of them",
    "file": "names of files: retention.files, or a rule",
    "file_content": "contents of files: as long as a file names them",
    "file_chunk": "where chunks of files lie: as long as the file",
    "series": "names of streams: as long as records have them",
    "session": "publishers: as long as records name them",
    "meta": "distinct metas: as long as records name them",
    "workload_version": "the history of workloads, for rollbacks",
    "other tables": "nodes, workloads, models, tokens, lanes, leases",
    sizes.FREE: "of the database; given back to the disk in steps",
    sizes.LOG: "of the database; written over and over",
    sizes.REST: "of the database, not told apart",
}
_DIRECTORIES = frozenset({"blobs", "files", "backups"})
_BESIDE = {
    "blobs": "models: as long as one names them",
    "files": "what workloads uploaded: retention.files, or a rule",
    "backups": "copies of the database",
    "other files": "keys, the administrator's token, directories",
    "set aside": "damaged: waits for a person",
}


def disk_problem(free: int) -> str:
    """What people should know of a disk with so many bytes left; empty: nothing."""
    if free >= LITTLE:
        return ""
    left = "is full" if free < _FULL else f"has only {format_size(free)} left"
    return (
        f"the hub's disk {left}: nodes keep what the hub cannot take, and send it by themselves when there is room. "
        "Free space, or shorten retention"
    )


@dataclass(frozen=True)
class _Count:
    """Records of one series among those that were counted."""

    id: int
    records: int
    oldest: int
    newest: int


@dataclass(frozen=True)
class _Counted:
    """`part` of all `total` records were counted. `daily` came within the last day; `began`: the first of all, in ns."""

    series: list[_Count]
    part: float
    total: int
    daily: int
    began: int | None


class Storage:
    """`data_dir` holds the database if it is a file, and what is beside it."""

    def __init__(self, store: HubStore, data_dir: Path, retention: Retention, clock: Clock) -> None:
        self._store = store
        self._data_dir = data_dir
        self._retention = retention
        self._clock = clock

    def free_bytes(self) -> int:
        """What is left on the disk of the data directory."""
        return shutil.disk_usage(self._data_dir).free

    async def report(self) -> StorageReport:
        """All of it."""
        now, free = self._clock.wall_ns(), self.free_bytes()
        streams = {stream.id: stream for stream in await self._retention.streams()}
        parts = await self._store.survey(self._parts)
        counted = await self._store.survey(lambda connection: _count(connection, now))
        names = await self._store.read(_node_names)
        removed = await self._store.read(_removed)
        beside = await asyncio.to_thread(_beside, self._data_dir, self._own_files())
        lines = [*(self._line(part) for part in _together(parts)), *beside]
        records = sum(part.bytes for part in parts if _holds_records(part.name))
        each = records / counted.total if counted.total else 0.0
        return StorageReport(
            of="hub",
            place=self._store.url.render_as_string() if self._store.shared else str(self._data_dir),
            used=sum(line.bytes for line in lines),
            free=free,
            limit=None,
            lines=sorted(lines, key=lambda line: (-line.bytes, line.what)),
            streams=[
                _use(streams[one.id], one, names, counted.part, each)
                for one in counted.series[:_STREAMS]
                if one.id in streams
            ],
            counted=counted.part,
            growth=self._growth(counted, each, free, now),
            removed=removed,
            problem=disk_problem(free),
        )

    def _own_files(self) -> set[str]:
        """Of the database, which tells of itself."""
        if self._store.shared:
            return set()
        name = Path(self._store.url.database or "").name
        return {name, f"{name}-wal"}

    def _parts(self, connection: Connection) -> list[sizes.Part]:
        if self._store.shared:
            return sizes.of_postgresql(connection)
        return sizes.of_sqlite(connection, Path(self._store.url.database or ""))

    def _line(self, part: sizes.Part) -> StorageLine:
        why = _TABLES.get(part.name, "")
        if _holds_records(part.name) and part.name != sizes.REST:
            kind = part.name.partition("_")[2].partition("_")[0]
            ages = self._retention.ages
            told = {name: age for name, age in ages.items() if name == kind} or ages
            why = ", ".join(f"{name}s {format_duration(age / NS)}" for name, age in told.items())
            why = f"retention: {why}" + (", or a rule" if self._retention.has_rules else "")
        return StorageLine(part.name, part.bytes, part.rows, why, part.oldest)

    def _growth(self, counted: _Counted, each: float, free: int, now: int) -> Growth | None:
        """By what came within the last day. Once the oldest records go by their age, it grows no more."""
        if counted.began is None or now - counted.began < _DAY // 48:
            return None
        seconds = min(now - counted.began, _DAY) // NS
        daily = counted.daily * each * 86_400 / seconds
        steady = now - counted.began >= max(self._retention.ages.values()) * 0.95
        full_in = None if steady or not daily else round(free / daily * 86_400)
        return Growth(seconds, round(daily), full_in, "records" if daily else "")


def _together(parts: Sequence[sizes.Part]) -> list[sizes.Part]:
    """Parts with something in them; what nobody wonders about is one."""
    told = [part for part in parts if part.name in _TABLES or _holds_records(part.name)]
    others = [part for part in parts if part not in told]
    rest = sizes.Part(
        "other tables", sum(part.bytes for part in others), sum(part.rows for part in others)
    )
    return [part for part in (*told, rest) if part.bytes]


def _holds_records(name: str) -> bool:
    return name in {"record", sizes.REST} or name.startswith("record_")


def _use(
    stream: Stream, one: _Count, names: Mapping[str, str], part: float, each: float
) -> StreamUse:
    records = one.records / part
    return StreamUse(
        stream.name, stream.source, round(records), round(records * each),
        names.get(stream.node_id, stream.node_id), one.oldest, one.newest, stream.why,
    )  # fmt: skip


def _count(connection: Connection, now: int) -> _Counted:
    """Counts records by series: all, or the newest of them by the order in which they came."""
    total = int(connection.execute(select(func.count()).select_from(record)).scalar_one())
    since = select(func.min(batch.c.id)).where(batch.c.received_at >= now - _DAY)
    first = connection.execute(since).scalar_one()
    newer = select(func.count()).select_from(record).where(record.c.batch_id >= (first or 2**62))
    daily = int(connection.execute(newer).scalar_one())
    began = connection.execute(select(func.min(batch.c.received_at))).scalar_one()
    some = _some(connection, total)
    query = select(
        some.c.series_id, func.count(), func.min(some.c.at), func.max(some.c.at)
    ).group_by(some.c.series_id)
    found = [_Count(*row) for row in connection.execute(query)]
    held = sum(one.records for one in found)
    found.sort(key=lambda one: (-one.records, one.id))
    return _Counted(found, held / total if total else 1.0, total, daily, began)


def _some(connection: Connection, total: int) -> FromClause:
    """All records, or about _COUNTED of them: the newest to come, where an index has that order, else any pages."""
    if total <= _COUNTED:
        return record
    if connection.dialect.name == "postgresql":
        return tablesample(record, func.system(100 * _COUNTED / total))
    newest = select(record.c.series_id, record.c.at).order_by(record.c.batch_id.desc())
    return newest.limit(_COUNTED).subquery()


def _node_names(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(node.c.id, node.c.name)).all()
    return {row.id: row.name for row in rows}


def _removed(connection: Connection) -> list[Removed]:
    rows = connection.execute(select(retention_removed).order_by(retention_removed.c.rule)).all()
    return [Removed(row.rule, row.records, row.last_at) for row in rows]


def _beside(data_dir: Path, own: set[str]) -> list[StorageLine]:
    """The files of the data directory that are not the database, by directory."""
    found: dict[str, StorageLine] = {}
    for parts, status in _entries(data_dir):
        if parts and parts[0] in own:
            continue
        what = parts[0] if parts and parts[0] in _DIRECTORIES else "other files"
        if parts and ".damaged" in parts[-1]:
            what = "set aside"
        before = found.get(what, StorageLine(what, 0, 0, _BESIDE[what]))
        oldest = status.st_mtime_ns
        found[what] = StorageLine(
            what, before.bytes + status.st_blocks * 512, before.count + 1, before.why,
            oldest if before.oldest is None else min(before.oldest, oldest),
        )  # fmt: skip
    return list(found.values())


def _entries(top: Path) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    """Everything below a directory and itself, by its path's steps."""
    yield (), top.stat()
    for place, directories, names in os.walk(top):
        below = Path(place).relative_to(top).parts
        for name in (*directories, *names):
            try:
                yield (*below, name), os.lstat(Path(place, name))
            except OSError:
                continue
