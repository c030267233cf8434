"""The readiness probes of one workload's instances: keeps exactly those running that belong to what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from skerry.kit.tasks import Guard, Tasks
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads import transitions
from skerry.node.workloads.readiness import Prober, Readiness
from skerry.wire.workload import Ready


class _Probe(msgspec.Struct):
    """What runs for one instance, and its last judgement."""

    ready: Ready
    task: asyncio.Task[None]
    judged: Readiness | None = None


class Probing:
    """`ring` is called when there is a new judgement; `guard` makes what keeps a probe's task alive."""

    def __init__(
        self, prober: Prober, ring: Callable[[], None], guard: Callable[[], Guard]
    ) -> None:
        self._prober = prober
        self._ring = ring
        self._guard = guard
        self._probes: dict[str, _Probe] = {}

    def tend(self, rows: Iterable[ActualWorkload], tasks: Tasks) -> None:
        """Starts and ends probes so that they fit these rows."""
        wanted = {row.instance.id: row for row in rows if row.instance and _probe_of(row)}
        for instance, probe in tuple(self._probes.items()):
            if instance not in wanted or _probe_of(wanted[instance]) != probe.ready:
                del self._probes[instance]
                probe.task.cancel()
        for instance, row in wanted.items():
            ready = _probe_of(row)
            if instance not in self._probes and ready is not None:
                task = tasks.start(self._watch(instance, row), name=f"probe of «{row.name}»")
                self._probes[instance] = _Probe(ready, task)

    def judged(self, row: ActualWorkload) -> ActualWorkload:
        """The row with what its probe has said since."""
        probe = None if row.instance is None else self._probes.get(row.instance.id)
        if probe is None or probe.judged is None or probe.ready != _probe_of(row):
            return row
        return transitions.probed(row, ready=probe.judged.ready, failure=probe.judged.failure)

    def forget(self, instance: str) -> None:
        """Another process has taken the instance's place: what is known of it says nothing of that one."""
        probe = self._probes.pop(instance, None)
        if probe is not None:
            probe.task.cancel()

    async def _watch(self, instance: str, row: ActualWorkload) -> None:
        guard = self._guard()

        def tell(readiness: Readiness) -> None:
            probe = self._probes.get(instance)
            if probe is not None and probe.ready == _probe_of(row):
                probe.judged = readiness
                self._ring()

        async def watch() -> None:
            await self._prober.watch(row, Readiness(row.ready), tell)

        while not await guard.run(watch):
            pass


def _probe_of(row: ActualWorkload) -> Ready | None:
    return row.assignment.spec.probe if row.phase == "running" else None
