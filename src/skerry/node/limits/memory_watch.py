"""Keeps the node within `runtime.max_memory_usage`: one pass reads, tells and, over the limit, has one workload ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from skerry.kit.units import format_size
from skerry.node.limits.memory import HIGH, REASON, Meter, by_workload, chosen, is_high
from skerry.node.ports import Excess, Living
from skerry.node.store.own_events import OwnEvents
from skerry.wire.local import MemoryUsage


class Workloads(Protocol):
    """What the limits see of the workloads, and may have done to them."""

    def living(self) -> list[Living]:
        """Every instance that runs, by workload."""
        ...

    def end(self, excess: Excess) -> None:
        """Ends an instance, which then counts as failed; its restart policy decides what follows."""
        ...


class MemoryWatch:
    """`limit` is in bytes; `keeper_pid` says which process is the keeper now."""

    def __init__(
        self,
        limit: int,
        meter: Meter,
        workloads: Workloads,
        events: OwnEvents,
        keeper_pid: Callable[[], int | None],
    ) -> None:
        self._limit = limit
        self._meter = meter
        self._workloads = workloads
        self._events = events
        self._keeper_pid = keeper_pid
        self._high = False
        self.usage: MemoryUsage | None = None
        """The last reading."""

    async def once(self) -> None:
        """One pass. Nobody is asked twice: who is being ended is left to its end."""
        living = self._workloads.living()
        threshold = int(self._limit * HIGH)
        reading = await asyncio.to_thread(self._meter.read, living, self._keeper_pid(), threshold)
        used = by_workload(reading, living)
        reserved = sum(one.reserved for one in living)
        self.usage = MemoryUsage(self._limit, reading.total, reserved, reading.own, used)
        was_high, self._high = (
            self._high,
            is_high(reading.total, self._limit, was_high=self._high),
        )
        victim = chosen(reading, living, self._limit)
        if victim is not None:
            size = reading.instances[victim.instance]
            detail = f"has {format_size(size)}, reserved {format_size(victim.reserved)}; memory {self.usage}"
            self._workloads.end(
                Excess(victim.workload, victim.instance, REASON, detail, at_once=True)
            )
            await self._events.tell(
                "skerry.memory.ended",
                f"workload «{victim.workload}» is ended: {detail}",
                {"workload": victim.workload, "bytes": size, "reserved": victim.reserved},
            )
        elif self._high and not was_high:
            meta = {"bytes": reading.total, "limit": self._limit}
            await self._events.tell("skerry.memory.high", f"memory {self.usage}", {**meta})
