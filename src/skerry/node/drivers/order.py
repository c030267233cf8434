"""The documented order of a start: a sign of life of the device, the Zenoh router, the drivers, then the workers.

Nobody waits for ever, and nobody who runs is stopped for it. Drivers wait for the first two whenever they are started,
workers for the drivers once: after the agent's start, and after a restart of everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import NS, Clock
from skerry.node.drivers.device import Served
from skerry.node.drivers.starting import cannot_start
from skerry.node.drivers.watching import Statuses
from skerry.wire.workload import Assignment, Phase, WorkloadStatus

ROUTER_PATIENCE = 5.0
"""Seconds in which the router may come up, from when it was last seen to be down."""

STEADY = 2.0
"""Seconds for which a router that has ended by itself has to run until it counts as up again."""

DRIVERS_PATIENCE = 30.0
"""Seconds in which the drivers may: the workers do not wait for images that come slowly."""

UNHEARD = "waits until this device was heard of"

_TRIED: frozenset[Phase] = frozenset({"backoff", "tripped", "failed", "succeeded"})

log = logging.getLogger(__name__)


class OrderSources(msgspec.Struct, frozen=True):
    """What a start waits for.

    `holds`: for how many seconds more drivers wait for somebody to hear of the device. `router` is the router that is wanted, if one is, and `drivers` are the
    drivers; `down` says why a driver is not to be started at all. `running` are the assignments of what runs, by workload.
    """

    served: Callable[[], Sequence[Served]]
    holds: Callable[[], float]
    router: Callable[[], Assignment | None]
    drivers: Callable[[], Sequence[Assignment]]
    down: Callable[[Assignment], str]
    running: Callable[[], Mapping[str, Assignment]]
    statuses: Statuses


class StartOrder:
    """`drivers` and `workers` say what these wait for; empty: nothing. `told` rings when one of the two has changed, or `problem`."""

    def __init__(self, sources: OrderSources, clock: Clock) -> None:
        self.told = Bell()
        self.drivers = self.workers = UNHEARD
        self.problem = ""
        """What was not waited for any longer, as far as people have to know; empty: nothing."""
        self._sources = sources
        self._clock = clock
        self._began = clock.monotonic_ns()
        self._lacking: int | None = None
        """Since when the router has been down."""
        self._due: list[float] = []
        self._passed = False
        """Whether the workers have had their turn."""

    def begin(self) -> None:
        """Everything is started anew."""
        self._began = self._clock.monotonic_ns()
        self._passed = False
        self.look()

    async def run(self, changes: Sequence[Bell]) -> None:
        """Looks whenever one of `changes` has rung, and when a wait is over, for ever."""
        rings = Rings(changes)
        while True:
            rings.note()
            await rings.next(self._clock, self.look())

    def look(self) -> float | None:
        """Finds out who waits for what; returns the seconds after which that may be different by itself."""
        statuses = {one.workload: one for one in self._sources.statuses.statuses()}
        matters = not self._passed or self._sources.router() is not None
        running, self._due = self._sources.running() if matters else {}, []
        drivers = self._sign_of_life() or self._router(statuses, running)
        workers = ""
        if not self._passed:
            workers = drivers or self._drivers(statuses, running)
            self._passed = not workers
        if (drivers, workers) != (self.drivers, self.workers):
            self.drivers, self.workers = drivers, workers
            self.told.ring()
        return min(self._due, default=None)

    def _sign_of_life(self) -> str:
        left = self._sources.holds() if self._sources.served() else 0.0
        if left <= 0:
            return ""
        self._due.append(left)
        return UNHEARD

    def _router(
        self, statuses: Mapping[str, WorkloadStatus], running: Mapping[str, Assignment]
    ) -> str:
        wanted, now = self._sources.router(), self._clock.monotonic_ns()
        up = None if wanted is None else self._up(wanted, statuses, running)
        if wanted is None or up == 0:
            self._lacking = None
            if self.problem:
                self.problem = ""
                self.told.ring()
            return ""
        if up is not None:
            self._due.append(up)
        self._lacking = now if self._lacking is None else self._lacking
        left = ROUTER_PATIENCE - (now - self._lacking) / NS
        if left > 0:
            self._due.append(left)
            return f"waits for «{wanted.workload}» to run"
        if not self.problem:
            self.problem = (
                f"the Zenoh router has not run for {ROUTER_PATIENCE:g} s: drivers and workers are started without it, and "
                f"exchange nothing by it until it runs. See «skerry logs {wanted.workload}»"
            )
            log.warning("%s", self.problem)
            self.told.ring()
        return ""

    def _up(
        self,
        wanted: Assignment,
        statuses: Mapping[str, WorkloadStatus],
        running: Mapping[str, Assignment],
    ) -> float | None:
        """In how many seconds the router counts as up; None: it does not run. An earlier one, of another spec, is about to end.

        Who answers at its port may be somebody else, who keeps it from staying.
        """
        status, serves = statuses.get(wanted.workload), running.get(wanted.workload)
        if status is None or serves is None or serves.spec != wanted.spec:
            return None
        if status.phase != "running" or not status.ready:
            return None
        since = (self._clock.wall_ns() - status.since) / NS
        return max(STEADY - since, 0) if status.restarts else 0

    def _drivers(
        self, statuses: Mapping[str, WorkloadStatus], running: Mapping[str, Assignment]
    ) -> str:
        sources = self._sources
        waits = [
            one.workload
            for one in sources.drivers()
            if not (sources.down(one) or _is_tried(statuses.get(one.workload), running))
        ]
        if not waits:
            return ""
        names = ", ".join(sorted(waits))
        left = DRIVERS_PATIENCE - (self._clock.monotonic_ns() - self._began) / NS
        if left > 0:
            self._due.append(left)
            return f"waits until drivers are started: {names}"
        log.warning(
            "the workers are started now: these drivers have not been within %g s: %s",
            DRIVERS_PATIENCE,
            names,
        )
        return ""


def _is_tried(status: WorkloadStatus | None, running: Mapping[str, Assignment]) -> bool:
    """Whether the driver runs, or its start has come to nothing for now."""
    if status is None:
        return False
    if status.phase == "running":
        return status.workload in running  # not what an earlier boot has left in the store
    return status.phase in _TRIED or cannot_start(status)
