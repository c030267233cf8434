"""Letting go of what the node can do without, in a fixed order, until there is room.

    tmp → rotated logs → records, then files, that the hub has in a backup → models that nobody needs
        → files that the hub has → records that the hub has

Each stage is a small object, so another one is one line in `node.agent`. Whatever is killed in between, a file is there
or gone, and the next pass looks afresh. What the hub does not have is in no stage.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk
from skerry.kit.units import format_size
from skerry.node.limits.storage import shares
from skerry.node.store.freeing import droppable
from skerry.node.store.records import RecordStore
from skerry.wire.sync import RECORD_LANES, Lane

log = logging.getLogger(__name__)

_FRUITLESS_FOR = 5 * NS
"""So long nobody looks again after nothing could go, unless the hub has taken more meanwhile."""

CURRENT_LOG = "current.log"


class Stage(Protocol):
    """Something of which a part may go."""

    name: str

    async def evictable(self) -> int:
        """Bytes that may go."""
        ...

    async def evict(self, size: int) -> int:
        """Lets about `size` bytes go; returns how many it were."""
        ...


class Files:
    """Implements `Stage` for files of which each may go, the oldest first."""

    def __init__(self, name: str, found: Callable[[], Iterator[Path]], disk: Disk) -> None:
        self.name = name
        self._found = found
        self._disk = disk

    async def evictable(self) -> int:
        return sum(size for _, size, _ in await asyncio.to_thread(self._listed))

    async def evict(self, size: int) -> int:
        return await asyncio.to_thread(self._evict, size)

    def _evict(self, size: int) -> int:
        freed = 0
        for _, taken, path in self._listed():
            if freed >= size:
                break
            try:
                self._disk.unlink("evict.file", path)
            except OSError as error:
                log.warning("cannot remove %s: %s", path, error)
                continue
            freed += taken
        return freed

    def _listed(self) -> list[tuple[int, int, Path]]:
        """(time of the last change, bytes, path), oldest first."""
        listed = []
        for path in self._found():
            try:
                status = path.lstat()
            except OSError:
                continue
            listed.append((status.st_mtime_ns, status.st_blocks * 512, path))
        return sorted(listed)


def files_below(directory: Path) -> Iterator[Path]:
    """Every file below a directory, which need not be there."""
    for place, _, names in os.walk(directory):
        for name in names:
            yield Path(place, name)


def rotated_logs(logs: Path, sent: Callable[[Path], bool]) -> Iterator[Path]:
    """Logs that nobody writes any more and that `sent` lets go. `logs` has a directory for each workload."""
    for path in logs.glob(f"*/{CURRENT_LOG}.*"):
        if path.suffix[1:].isdecimal() and sent(path):
            yield path


class Records:
    """Implements `Stage` for records up to the points that `through` tells. With a `cause`, an event tells of it."""

    def __init__(
        self, name: str, records: RecordStore, through: Callable[[Lane], int], cause: str
    ) -> None:
        self.name = name
        self._records = records
        self._through = through
        self._cause = cause

    async def evictable(self) -> int:
        return sum(
            segment.size
            for lane in RECORD_LANES
            for segment in droppable(
                self._records.segments(lane),
                min(self._through(lane), self._records.acknowledged(lane)),
                self._records.worth(lane),
            )
        )

    async def evict(self, size: int) -> int:
        through = {lane: self._through(lane) for lane in RECORD_LANES}
        return await self._records.evict(through, size, self._cause)


class Unneeded(Protocol):
    """What has something that may go: the models that nobody needs at present, files that the hub has."""

    def evictable(self) -> int: ...

    async def evict(self, size: int) -> int: ...


class Cache:
    """Implements `Stage` for what says itself what may go."""

    def __init__(self, name: str, cache: Unneeded) -> None:
        self.name = name
        self._cache = cache

    async def evictable(self) -> int:
        return self._cache.evictable()

    async def evict(self, size: int) -> int:
        return await self._cache.evict(size)


class Evictor:
    """Makes room, stage after stage.

    `measure` takes note of what is left, before anybody goes on; what `progress` answers differs when more may go.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        progress: Callable[[], object],
        measure: Callable[[], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._stages = stages
        self._progress = progress
        self._measure = measure
        self._clock = clock
        self._busy = asyncio.Lock()
        self._passes = 0
        self._fruitless: tuple[object, int] | None = None

    async def make_room(self, wanted: int) -> None:
        """Lets `wanted` bytes go, as far as they may. Who asks while room is being made has waited for that."""
        passes = self._passes
        async with self._busy:
            if passes == self._passes and not self._is_in_vain():
                await self._pass(wanted)

    async def evictable(self) -> list[tuple[str, int]]:
        """What may go from which stage, in their order."""
        return [(stage.name, await stage.evictable()) for stage in self._stages]

    def _is_in_vain(self) -> bool:
        if self._fruitless is None:
            return False
        progress, at = self._fruitless
        return progress == self._progress() and self._clock.monotonic_ns() - at < _FRUITLESS_FOR

    async def _pass(self, wanted: int) -> None:
        now = self._progress()
        stages = {stage.name: stage for stage in self._stages}
        left = {name: await stage.evictable() for name, stage in stages.items()}
        freed: dict[str, int] = {}
        missing = wanted
        while missing > 0 and (following := shares(missing, list(left.items()))):
            name, share = following[0]
            size = await stages[name].evict(share)
            freed[name] = freed.get(name, 0) + size
            missing -= size
            left[name] = left[name] - size if size >= share else 0
        await self._measure()
        self._passes += 1
        self._fruitless = None if freed else (now, self._clock.monotonic_ns())
        if freed:
            parts = ", ".join(f"{name} {format_size(size)}" for name, size in freed.items())
            log.warning("made room on the disk: %s of %s wanted", parts, format_size(wanted))
