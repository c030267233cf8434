"""The readiness probes of one workload's instances: keeps exactly those running that belong to what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skerry.kit.tasks import Guard, Tasks
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import transitions
from skerry.node.workloads.readiness import Prober, Readiness
from skerry.wire.workload import Ready


@dataclass(frozen=True)
class _Probe:
    """Which probe runs, for which instance."""

    instance: str
    ready: Ready


class Probing:
    """`ring` is called when there is a new judgement; `guard` makes what keeps a probe's task alive."""

    def __init__(
        self, prober: Prober, ring: Callable[[], None], guard: Callable[[], Guard]
    ) -> None:
        self._prober = prober
        self._ring = ring
        self._guard = guard
        self._tasks: dict[_Probe, asyncio.Task[None]] = {}
        self._judged: dict[_Probe, Readiness] = {}

    def tend(self, rows: Iterable[ActualWorkload], tasks: Tasks) -> None:
        """Starts and ends probes so that they fit these rows."""
        wanted = {probe: row for row in rows if (probe := _probe_of(row)) is not None}
        for probe in self._tasks.keys() - wanted.keys():
            self._tasks.pop(probe).cancel()
            self._judged.pop(probe, None)
        for probe, row in wanted.items():
            if probe not in self._tasks:
                name = f"probe of «{row.name}»"
                self._tasks[probe] = tasks.start(self._watch(probe, row), name=name)

    def judged(self, row: ActualWorkload) -> ActualWorkload:
        """The row with what its probe has said since."""
        probe = _probe_of(row)
        readiness = None if probe is None else self._judged.get(probe)
        if readiness is None:
            return row
        return transitions.probed(row, ready=readiness.ready, failure=readiness.failure)

    async def _watch(self, probe: _Probe, row: ActualWorkload) -> None:
        guard = self._guard()

        def tell(readiness: Readiness) -> None:
            if probe in self._tasks:
                self._judged[probe] = readiness
                self._ring()

        async def watch() -> None:
            await self._prober.watch(row, Readiness(row.ready), tell)

        while not await guard.run(watch):
            pass


def _probe_of(row: ActualWorkload) -> _Probe | None:
    ready = row.assignment.spec.probe
    if row.instance is None or row.phase != "running" or ready is None:
        return None
    return _Probe(row.instance.id, ready)
