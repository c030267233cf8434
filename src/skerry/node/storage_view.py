"""`skerry storage` on a node: every part of the data directory, the streams in it, what goes next. Loaded when asked for.

A part of the composition root, beside `services`: it puts together what limits, models, files, sync and store know.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from skerry.core.stream_rules import Rules
from skerry.kit.clock import NS
from skerry.kit.units import format_duration
from skerry.node.data.retention import KEEP_ACKNOWLEDGED
from skerry.node.data.stream_use import in_all
from skerry.node.limits.storage import RecordFile, class_of
from skerry.node.limits.survey import Pages, Part, Reasons, Use, lines, survey
from skerry.node.store.records import RecordStore
from skerry.wire.storage import Removed, StorageLine, StorageReport, StreamUse
from skerry.wire.sync import RECORD_LANES

if TYPE_CHECKING:
    from skerry.node.services import Node

_STREAMS = 200
"""So many are told, the largest first."""


async def storage_report(node: Node, now: int) -> StorageReport:
    """All of it; `now` is ns since 1970."""
    settings, watch, rules = (
        node.settings,
        node.limits.storage,
        Rules.of(node.settings.retention.streams),
    )
    await watch.once()
    parts = await asyncio.to_thread(survey, settings.data_dir, watch.record_files())
    _age_by_records(parts, node.records, watch.record_files(), settings.data_dir)
    sync = await node.sync.status()
    why = Reasons(
        now=now,
        link=sync.link,
        database=_pages(node.store.reader, node.store.path),
        keep_limit=settings.records.keep_limit,
        sample_limit=settings.records.sample_limit,
        models=(await node.models()).models,
        files=node.files.waiting(),
        workloads=frozenset(one.workload for one in node.supervisor.statuses()),
        acknowledged=f"waits for a backup of the hub, {format_duration(KEEP_ACKNOWLEDGED / NS)} at most"
        + (", or a rule" if rules else ""),
    )
    found = lines(parts, why)
    streams, counted = await asyncio.to_thread(in_all, node.records)
    usage = watch.usage
    return StorageReport(
        of="node",
        place=str(settings.data_dir),
        used=sum(line.bytes for line in found),
        free=usage.free if usage else None,
        limit=settings.runtime.max_storage_usage,
        lines=found,
        streams=[
            StreamUse(
                name, source, round(use.records), round(use.bytes), oldest=use.oldest, newest=use.newest,
                rule=str(rules.find(name) or ""),
            )
            for (name, source), use in sorted(streams.items(), key=lambda item: -item[1].bytes)[:_STREAMS]
        ],
        counted=counted,
        goes=[StorageLine(name, size, 0, "") for name, size in await watch.goes() if size],
        growth=usage.growth if usage else None,
        removed=[
            Removed(rule, gone.records, gone.last_at) for rule, gone in node.sweeps.retention.removed.items()
        ],
    )  # fmt: skip


def _age_by_records(
    parts: Mapping[Part, Use],
    records: RecordStore,
    files: Mapping[PurePath, RecordFile],
    data_dir: Path,
) -> None:
    """A file of records is as old as the oldest record in it, not as its last write."""
    times: dict[Part, int] = {}
    for lane in RECORD_LANES:
        for segment in records.segments(lane):
            if segment.last >= segment.first:
                part: Part = (class_of(segment.path.relative_to(data_dir), files), lane)
                times[part] = min(
                    times.get(part, segment.times.earliest_at), segment.times.earliest_at
                )
    for part, oldest in times.items():
        if part in parts:
            parts[part].oldest = oldest


def _pages(reader: sqlite3.Connection, path: Path) -> Pages:
    def pragma(name: str) -> int:
        return int(reader.execute(f"PRAGMA {name}").fetchone()[0])

    log = path.with_name(f"{path.name}-wal")
    size = pragma("page_size")
    return Pages(
        file=size * pragma("page_count"),
        free=size * pragma("freelist_count"),
        log=log.stat().st_blocks * 512 if log.exists() else 0,
    )
