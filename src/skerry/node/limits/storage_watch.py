"""Keeps the data directory within `runtime.max_storage_usage`, and each workload's own directory within its limit.

One pass measures, has the evictor make room, ends workloads that hold too much, and tells. Between two passes the
record store keeps its own account, so publishing cannot pass the limit; it asks the evictor before it refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.units import format_size
from skerry.node.limits.accounting import measure
from skerry.node.limits.eviction import Evictor, Stage
from skerry.node.limits.memory import is_high
from skerry.node.limits.memory_watch import Workloads
from skerry.node.limits.storage import CLASSES, HIGH, STAYING, Measured, RecordFile, Trend, to_evict
from skerry.node.ports import Excess, Living
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.records import RecordStore
from skerry.wire.local import StorageUsage
from skerry.wire.sync import RECORD_LANES, Lane
from skerry.wire.workload import Assignment, own_directory_limit

REASON = "storage"
"""The exit reason of a workload that was ended because its directory holds too much."""


class StorageWatch:
    """`limit` is for the whole data directory, in bytes; None: the disk is the limit."""

    def __init__(  # noqa: PLR0913 - what is watched, and how it is put right
        self,
        data_dir: Path,
        limit: int | None,
        disk: Disk,
        clock: Clock,
        *,
        records: RecordStore,
        backed_up: Callable[[Lane], int],
        stages: Sequence[Stage],
        quotas: Quotas,
        workloads: Workloads,
        events: OwnEvents,
    ) -> None:
        self._data_dir = data_dir
        self._limit = limit
        self._records = records
        self._backed_up = backed_up
        self._evictor = Evictor(stages, self._progress, self._measure, clock)
        self._quotas = quotas
        self._workloads = workloads
        self._events = events
        self._disk = disk
        self._high = False
        self._added = 0
        self._beside = 0
        self._clock = clock
        self._trend = Trend()
        self.usage: StorageUsage | None = None
        """The last measurement."""

    async def once(self) -> None:
        """One pass."""
        measured = await self._measure()
        free = self._disk.free_bytes(self._data_dir)
        wanted = to_evict(measured.total, self._limit, free)
        if wanted:
            await self._evictor.make_room(wanted)
            measured = await self._measure()
        await self._records.tend_reserve()
        await self._tell_if_high()
        self._quotas.note(measured)
        for one, used in self._quotas.over(self._workloads.living()):
            await self._end(one, used, one.storage or 0)

    async def make_room(self, wanted: int) -> None:
        """What the record store asks before it refuses."""
        await self._evictor.make_room(wanted)

    def left(self) -> int | None:
        """As `node.ports.Room`: up to where the node begins to let go of things."""
        if self._limit is None or self.usage is None:
            return self._limit
        return int(self._limit * HIGH) - self.usage.used - self._added

    def added(self, size: int) -> None:
        """As `node.ports.Room`: counts until the next measurement, for the record store, too."""
        self._added += size
        self._records.beside(self._beside + self._added)

    def _progress(self) -> object:
        """Changes when more may go than before."""
        records = self._records
        return [(records.acknowledged(lane), self._backed_up(lane)) for lane in RECORD_LANES]

    async def _measure(self) -> Measured:
        found = await asyncio.to_thread(measure, self._data_dir, self.record_files())
        self._beside, self._added = found.beside_records, 0
        self._records.beside(self._beside)
        free, now = self._disk.free_bytes(self._data_dir), self._clock.monotonic_ns()
        staying = sum(size for name, size in found.classes.items() if name in STAYING)
        room = found.total + free if self._limit is None else min(self._limit, found.total + free)
        self._trend.note(now, found.classes)
        self.usage = StorageUsage(
            limit=self._limit,
            used=found.total,
            free=free,
            classes={name: found.classes[name] for name in CLASSES if found.classes.get(name)},
            workloads=dict(sorted(found.workloads.items())),
            growth=self._trend.growth(now, found.classes, room - staying),
        )
        return found

    async def goes(self) -> list[tuple[str, int]]:
        """What may go when room is needed, in its order, with its bytes."""
        return await self._evictor.evictable()

    def record_files(self) -> dict[PurePath, RecordFile]:
        """The files of records by their path below the data directory."""
        return {
            segment.path.relative_to(self._data_dir): RecordFile(
                lane == "sample",
                segment.last,
                self._records.acknowledged(lane),
                self._backed_up(lane),
            )
            for lane in RECORD_LANES
            for segment in self._records.segments(lane)
        }

    async def _end(self, one: Living, used: int, limit: int) -> None:
        detail = f"its directory holds {format_size(used)} of {format_size(limit)}"
        self._workloads.end(Excess(one.workload, one.instance, REASON, detail, at_once=False))
        await self._events.tell(
            "skerry.storage.ended",
            f"workload «{one.workload}» is ended: {detail}",
            {"workload": one.workload, "bytes": used, "limit": limit},
        )

    async def _tell_if_high(self) -> None:
        usage = self.usage
        if usage is None or usage.limit is None:
            return
        was_high = self._high
        self._high = is_high(usage.used, usage.limit, was_high=was_high)
        if self._high and not was_high:
            meta = {"bytes": usage.used, "limit": usage.limit}
            await self._events.tell("skerry.storage.high", f"storage {usage}", {**meta})


class Quotas:
    """`resources.storage` by the last measurement. Implements `workloads.needs.Needs`: who holds more waits."""

    def __init__(self) -> None:
        self.changed = Bell()
        self._used: dict[str, int] = {}

    def note(self, measured: Measured) -> None:
        """Judges by this from now on."""
        before, self._used = self._used, dict(measured.workloads)
        if before != self._used:
            self.changed.ring()

    def over(self, living: Iterable[Living]) -> list[tuple[Living, int]]:
        """Who holds more than it may, and how much, and is not being ended yet."""
        used = self._used
        return [
            (one, used[one.workload])
            for one in living
            if one.storage is not None
            and not one.ending
            and used.get(one.workload, 0) > one.storage
        ]

    def want(self, assignments: Iterable[Assignment]) -> None:
        """Nothing is fetched."""

    def missing(self, assignment: Assignment) -> str:
        limit, used = own_directory_limit(assignment.spec), self._used.get(assignment.workload, 0)
        if limit is None or used <= limit:
            return ""
        return (
            f"waits for room: its directory holds {format_size(used)} of {format_size(limit)}; remove files there, "
            "or raise resources.storage"
        )

    async def check(self, assignment: Assignment) -> None:
        """What was measured last holds."""

    async def close(self) -> None:
        """Nothing is under way."""
