"""Builds what keeps the node within its limits, and runs it: the part of the composition root that `limits` needs.

A new stage of eviction is one line here; another way to measure memory (control groups) takes the place of ProcMeter.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.clock import NS, Clock
from skerry.kit.disk import Disk
from skerry.kit.tasks import Guard, Tasks
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.limits.eviction import Cache, Files, Records, Unneeded, files_below, rotated_logs
from skerry.node.limits.memory_watch import MemoryWatch, Workloads
from skerry.node.limits.processes import ProcMeter
from skerry.node.limits.storage_watch import Quotas, StorageWatch
from skerry.node.node_settings import NodeSettings, RuntimeSection
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.records import RecordStore
from skerry.wire.local import MemoryUsage, StorageUsage
from skerry.wire.sync import Lane

STORAGE_SHARE = 100
"""The pause after measuring the data directory is at least so many times as long as that took."""


class NodeLimits(msgspec.Struct, frozen=True):
    """The watches over memory (None: it is not limited) and storage."""

    settings: RuntimeSection
    memory: MemoryWatch | None
    storage: StorageWatch
    clock: Clock
    chance: random.Random

    @property
    def memory_usage(self) -> MemoryUsage | None:
        """The last reading."""
        return None if self.memory is None else self.memory.usage

    @property
    def storage_usage(self) -> StorageUsage | None:
        """The last measurement."""
        return self.storage.usage

    def follow(self, tasks: Tasks) -> None:
        """Watches for as long as the tasks run."""
        if self.memory is not None:
            tasks.forever(self._watch_memory(self.memory), name="memory")
        tasks.forever(self._watch_storage(), name="storage")

    async def _watch_memory(self, watch: MemoryWatch) -> None:
        guard = Guard("watching memory", self.clock, self.chance)
        while True:
            await self.clock.sleep(self.settings.memory_check_interval)
            await guard.run(watch.once)

    async def _watch_storage(self) -> None:
        guard = Guard("watching storage", self.clock, self.chance)
        while True:
            began = self.clock.monotonic_ns()
            await guard.run(self.storage.once)
            took = (self.clock.monotonic_ns() - began) / NS
            pause = max(self.settings.storage_check_interval, STORAGE_SHARE * took)
            await self.clock.sleep(pause)


def build_limits(  # noqa: PLR0913 - a part of the composition root
    settings: NodeSettings,
    clock: Clock,
    disk: Disk,
    chance: random.Random,
    *,
    events: OwnEvents,
    records: RecordStore,
    backed_up: Callable[[Lane], int],
    models: Unneeded,
    files: FilesOnDemand,
    quotas: Quotas,
    workloads: Workloads,
    sent: Callable[[Path], bool],
    keeper_pid: Callable[[], int | None],
) -> NodeLimits:
    """The stages of eviction stand in their order; what the hub does not have is in none of them."""
    data_dir, runtime = settings.data_dir, settings.runtime
    storage = StorageWatch(
        data_dir,
        runtime.max_storage_usage,
        disk,
        clock,
        records=records,
        backed_up=backed_up,
        stages=(
            Files("tmp", partial(files_below, data_dir / "tmp"), disk),
            Files("logs", partial(rotated_logs, data_dir / "logs", sent), disk),
            Records("records backed up", records, backed_up, ""),
            Cache("files backed up", files.backed_up),
            Cache("models", models),
            Cache("files at the hub", files.at_hub),
            Records("records acknowledged", records, records.acknowledged, "room was needed"),
        ),
        quotas=quotas,
        workloads=workloads,
        events=events,
    )
    records.make_room = storage.make_room
    files.room = storage
    limit = runtime.max_memory_usage
    memory = (
        None
        if limit is None
        else MemoryWatch(limit, ProcMeter(clock), workloads, events, keeper_pid)
    )
    return NodeLimits(runtime, memory, storage, clock, chance)
