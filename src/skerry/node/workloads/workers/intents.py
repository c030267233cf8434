"""What is wanted of worker groups on this device: rows of the store that reach the plan with the assignment.

Each order is one transaction that is durable before anybody acts on it, so it holds over kills and reboots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from skerry.kit.bell import Bell
from skerry.node.store.workers import Cause, PastRestart, Scripts, WorkerRow, WorkerStore
from skerry.node.workloads.transitions import Moment
from skerry.wire.workload import Assignment, LocalIntent


class Intents:
    """`told` rings after each order; `told.count` says nothing about which."""

    def __init__(self, store: WorkerStore, moment: Callable[[], Moment]) -> None:
        self.told = Bell()
        self._store = store
        self._moment = moment
        self._fresh: dict[str, int] = {}
        """How often a person has started or restarted a group since the agent's start."""
        self._turn = asyncio.Lock()

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment with what this device adds."""
        row = self._store.row(wish.workload) if wish.spec.worker is not None else None
        return wish if row is None else replace(wish, local=self._joined(row, wish))

    def holds(self, wish: Assignment) -> bool:
        """Whether `wish` was amended since the last order, and its scripts have been looked at."""
        row = self._store.row(wish.workload)
        if row is None:
            return False
        asked = replace(self._joined(row, wish), refreshes=wish.local.refreshes)
        return asked == wish.local

    async def take_up(self, workload: str, scripts: Scripts) -> None:
        """These are the scripts that the worker has read or will read when it starts; nothing is restarted."""
        async with self._turn:
            row = self._row(workload)
            await self._write(replace(row, scripts=scripts), label="worker.scripts")

    async def reload(self, workload: str, scripts: Scripts, detail: str) -> None:
        """Restarts the worker because its scripts have changed."""
        async with self._turn:
            row = replace(self._row(workload), scripts=scripts)
            await self._ask(row, "reload", detail)

    async def start(self, workload: str, by: str) -> None:
        """Takes a stop back, and starts a worker of which nothing lives."""
        async with self._turn:
            row = replace(self._row(workload), stopped_at=None, stopped_by="")
            await self._ask(row, "manual", f"«skerry worker start» by {by}")

    async def restart(self, workload: str, by: str) -> None:
        """Restarts the worker now, whatever waits."""
        async with self._turn:
            row = replace(self._row(workload), stopped_at=None, stopped_by="")
            await self._ask(row, "manual", f"«skerry worker restart» by {by}")

    async def stop(self, workload: str, by: str) -> None:
        """Stops the worker until `start` or `restart`."""
        async with self._turn:
            row = self._row(workload)
            at = self._moment().wall if row.stopped_at is None else row.stopped_at
            stopped = replace(row, stopped_at=at, stopped_by=row.stopped_by or by)
            await self._write(stopped, label="worker.stopped")

    def _row(self, workload: str) -> WorkerRow:
        return self._store.row(workload) or WorkerRow(workload)

    async def _ask(self, row: WorkerRow, cause: Cause, detail: str) -> None:
        moment = self._moment()
        asked = replace(row, reloads=row.reloads + 1)
        note = PastRestart(moment.wall, moment.boot_id, moment.monotonic, cause, detail)
        if cause == "manual":
            self._fresh[row.workload] = self._fresh.get(row.workload, 0) + 1
        await self._write(asked, note, label="worker.restart")

    async def _write(self, row: WorkerRow, note: PastRestart | None = None, *, label: str) -> None:
        await self._store.put(row, note, label=label)
        self.told.ring()

    def _joined(self, row: WorkerRow, wish: Assignment) -> LocalIntent:
        """What a worker group of the device's own has besides stays; a person's order asks for its newest image, too."""
        device, own = wish.local, row.local
        fresh = device.refreshes
        if fresh is not None:
            fresh += self._fresh.get(row.workload, 0)
        stopped = own.stopped or bool(device.held)
        return replace(
            device, reloads=own.reloads, models=own.models, stopped=stopped, refreshes=fresh
        )
