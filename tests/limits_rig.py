"""A data directory with everything that may be evicted, a record store, and the watch that keeps it within a limit."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tests.files_in_use import blocks
from tests.record_rig import make_store, submission

from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import StorageFull
from skerry.node.limits.eviction import Cache, Files, Records, files_below, rotated_logs
from skerry.node.limits.storage_watch import Quotas, StorageWatch
from skerry.node.ports import Excess, Living
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.wire.sync import RECORD_LANES, Lane

TEXT = "x" * 200_000


class Workloads:
    """Implements `memory_watch.Workloads`."""

    def __init__(self) -> None:
        self.there: list[Living] = []
        self.ended: list[Excess] = []

    def living(self) -> list[Living]:
        return self.there

    def end(self, excess: Excess) -> None:
        self.ended.append(excess)


class ModelFiles:
    """Implements `eviction.Unneeded`: all files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._files = Files("models", partial(files_below, directory), RealDisk())
        self._directory = directory

    def evictable(self) -> int:
        return sum(path.stat().st_blocks * 512 for path in files_below(self._directory))

    async def evict(self, size: int) -> int:
        return await self._files.evict(size)


class LimitedNode:
    """What of a node fills its disk; `limit` in bytes."""

    def __init__(
        self,
        data_dir: Path,
        limit: int | None,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.disk = disk or RealDisk()
        clock = clock or SystemClock()
        limits = Limits(segment=500_000, storage=limit)
        self.records = make_store(data_dir, disk=self.disk, clock=clock, limits=limits)
        self.backed_up: dict[Lane, int] = dict.fromkeys(RECORD_LANES, 0)
        self.workloads = Workloads()
        self.quotas = Quotas()
        self.watch = StorageWatch(
            data_dir,
            limit,
            self.disk,
            clock,
            records=self.records,
            backed_up=self.backed_up.__getitem__,
            stages=(
                Files("tmp", partial(files_below, data_dir / "tmp"), self.disk),
                Files("logs", partial(rotated_logs, data_dir / "logs", self.is_sent), self.disk),
                Records("records backed up", self.records, self.backed_up.__getitem__, ""),
                Cache("models", ModelFiles(data_dir / "models")),
                Records("records acknowledged", self.records, self.records.acknowledged, "room was needed"),
            ),
            quotas=self.quotas,
            workloads=self.workloads,
            events=OwnEvents(self.records, clock, lambda: "synced"),
        )  # fmt: skip
        self.records.make_room = self.watch.make_room
        self.accepted = 0
        self.unsent = ""

    async def publish(self, count: int) -> None:
        """So many records of 200 kB; raises what the store answers."""
        for _ in range(count):
            await self.records.append(submission(self.accepted + 1, TEXT))
            self.accepted += 1

    async def until_refused(self) -> str:
        while True:
            try:
                await self.publish(1)
            except StorageFull as error:
                return str(error)

    def is_sent(self, log: Path) -> bool:
        return log.parent.name != self.unsent

    def lay(self, *names: str, size: int = 1_000_000) -> None:
        """Makes files, each a second younger than the one before it."""
        for second, name in enumerate(names):
            path = self.data_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1024) * (size // 1024))
            os.utime(path, (1_000_000_000 + second, 1_000_000_000 + second))

    def there(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if (self.data_dir / name).exists()]

    def used(self) -> int:
        """What the disk holds of it."""
        return blocks(self.data_dir)
