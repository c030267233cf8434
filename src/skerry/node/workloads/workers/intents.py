"""What is wanted of worker groups on this device: rows of the store that reach the plan with the assignment.

Each order is one transaction that is durable before anybody acts on it, so it holds over kills and reboots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

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
        self._turn = asyncio.Lock()

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment with what this device adds."""
        row = self._store.row(wish.workload) if wish.spec.worker is not None else None
        return wish if row is None else msgspec.structs.replace(wish, local=_joined(row, wish))

    def holds(self, wish: Assignment) -> bool:
        """Whether `wish` was amended since the last order, and its scripts have been looked at."""
        row = self._store.row(wish.workload)
        return row is not None and _joined(row, wish) == wish.local

    async def take_up(self, workload: str, scripts: Scripts) -> None:
        """These are the scripts that the worker has read or will read when it starts; nothing is restarted."""
        async with self._turn:
            row = self._row(workload)
            await self._write(msgspec.structs.replace(row, scripts=scripts), label="worker.scripts")

    async def reload(self, workload: str, scripts: Scripts, detail: str) -> None:
        """Restarts the worker because its scripts have changed."""
        async with self._turn:
            row = msgspec.structs.replace(self._row(workload), scripts=scripts)
            await self._ask(row, "reload", detail)

    async def start(self, workload: str, by: str) -> None:
        """Takes a stop back, and starts a worker of which nothing lives."""
        async with self._turn:
            row = msgspec.structs.replace(self._row(workload), stopped_at=None, stopped_by="")
            await self._ask(row, "manual", f"«skerry worker start» by {by}")

    async def restart(self, workload: str, by: str) -> None:
        """Restarts the worker now, whatever waits."""
        async with self._turn:
            row = msgspec.structs.replace(self._row(workload), stopped_at=None, stopped_by="")
            await self._ask(row, "manual", f"«skerry worker restart» by {by}")

    async def stop(self, workload: str, by: str) -> None:
        """Stops the worker until `start` or `restart`."""
        async with self._turn:
            row = self._row(workload)
            at = self._moment().wall if row.stopped_at is None else row.stopped_at
            stopped = msgspec.structs.replace(row, stopped_at=at, stopped_by=row.stopped_by or by)
            await self._write(stopped, label="worker.stopped")

    def _row(self, workload: str) -> WorkerRow:
        return self._store.row(workload) or WorkerRow(workload)

    async def _ask(self, row: WorkerRow, cause: Cause, detail: str) -> None:
        moment = self._moment()
        asked = msgspec.structs.replace(row, reloads=row.reloads + 1)
        note = PastRestart(moment.wall, moment.boot_id, moment.monotonic, cause, detail)
        await self._write(asked, note, label="worker.restart")

    async def _write(self, row: WorkerRow, note: PastRestart | None = None, *, label: str) -> None:
        await self._store.put(row, note, label=label)
        self.told.ring()


def _joined(row: WorkerRow, wish: Assignment) -> LocalIntent:
    """What a worker group of the device's own has besides stays."""
    device = wish.local
    stopped = row.local.stopped or bool(device.held)
    return msgspec.structs.replace(
        row.local, stopped=stopped, held=device.held, recipe=device.recipe
    )
