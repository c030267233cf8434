"""Between the store and the workloads: what the hub wants of this node, and the statuses on their way back.

The supervisor states its needs as protocols (`workloads.supervise.Desired`, `Statuses`); these are they, on the store.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.kit.tasks import Tasks
from skerry.node.device_workloads import DeviceBook
from skerry.node.store.hub_orders import ASSIGNMENT
from skerry.node.store.last_good import IN_FORCE, is_order, read_order, version_of
from skerry.node.store.state import NodeStore
from skerry.node.workloads.foreground import ForegroundRuns
from skerry.wire.codec import encode
from skerry.wire.local import LinkStatus
from skerry.wire.sync import StateRow
from skerry.wire.workload import (
    Assignment,
    Logs,
    Shipped,
    StreamClass,
    WorkloadSpec,
    WorkloadStatus,
)

log = logging.getLogger(__name__)

_SHOWN = 64
STATUS = "status"


class Link(Protocol):
    """The way to the hub (`sync.reachability.Reachability`)."""

    status: LinkStatus
    changed: Bell


class LocalWishes(Protocol):
    """What is wanted on this device besides (`workloads.workers.groups`, `models.named`)."""

    told: Bell
    """Rings when an answer below may have changed."""

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment with what this device adds."""
        ...

    def remark(self, workload: str) -> str: ...


class StoredDesired:
    """The assignments of the store, with what this device adds, and the state of the link; besides them what somebody runs here (`foreground`). `prepare` runs before new wishes are acted on.

    Each of `local` gets what the one before it made of an assignment.
    """

    def __init__(
        self,
        store: NodeStore,
        link: Link,
        clock: Clock,
        prepare: Callable[[Sequence[Assignment]], Awaitable[None]],
        local: Sequence[LocalWishes],
        device: DeviceBook,
    ) -> None:
        self._store = store
        self._device = device
        self.foreground = ForegroundRuns(clock)
        self._local = local
        self._link = link
        self._clock = clock
        self._prepare = prepare
        self._stops = self._stops_services = False
        self._outage: _Outage | None = None
        self._specs: dict[str, WorkloadSpec] = {}
        self._unread: dict[str, str] = {}
        self.changed = Bell()

    def follow(self, tasks: Tasks) -> None:
        """Rings `changed` whenever assignments or link have changed."""
        for source, name in (
            (self._store.assignments_changed, "assignments"),
            (self._link.changed, "link"),
            (self.foreground.told, "foreground runs"),
            *((part.told, "local wishes") for part in self._local),
            *((source.told, "the device's own wishes") for source in self._device.sources),
        ):
            tasks.forever(self._relay(source), name=f"follow {name}")

    async def assignments(self) -> list[Assignment]:
        # At one moment: between two looks a version that is kept may come, or go.
        held = await self._store.rows(ASSIGNMENT, IN_FORCE)
        kept = {row.id: row for row in held if row.entity == IN_FORCE}
        rows = [row for row in held if row.entity == ASSIGNMENT]
        self._unread = {row.id: self._unread[row.id] for row in rows if row.id in self._unread}
        given = [row for row in rows if not self._is_taken(row.id)]
        wanted = [wish for row in given if (wish := self._read(row, kept.get(row.id))) is not None]
        wanted += self._device.wanted()
        wanted += self.foreground.beside({wish.workload for wish in wanted})
        self._specs |= {assignment.workload: assignment.spec for assignment in wanted}
        await self._prepare(wanted)
        return [self._amended(assignment) for assignment in wanted]

    def _is_taken(self, workload: str) -> bool:
        if not self._device.reserves(workload):
            return False
        self._note(workload, "an assignment of the hub is left out: the name is this device's own while cyberwave.enabled holds")  # fmt: skip
        return True

    def _read(self, row: StateRow, kept: StateRow | None) -> Assignment | None:
        """What is in force of a row: its assignment; if it is none, the last version that was; None without either.

        A row that is none must neither keep the others from being acted on nor end what runs.
        """
        try:
            wish = read_order(row.id, row.body)
        except InvalidInput as error:
            fault = str(error)
        else:
            self._unread.pop(row.id, None)
            return wish
        if kept is None or not is_order(kept.id, kept.body):
            self._note(row.id, f"an assignment of the hub is left out: {fault}")
            return None
        told, held = version_of(row.body, row.rev), version_of(kept.body, kept.rev)
        self._note(
            row.id, f"the hub's version {told} could not be read: {fault}; version {held} runs on"
        )
        return read_order(kept.id, kept.body)

    def _note(self, workload: str, words: str) -> None:
        if self._unread.get(workload) != words:
            self._unread[workload] = words
            log.warning("workload «%s»: %s", one_line(workload[:_SHOWN]), words)

    def streams_of(self, workload: str) -> Mapping[str, StreamClass]:
        """The stream classes of a workload, also while it is being removed."""
        spec = self._specs.get(workload)
        return spec.streams if spec else {}

    def specs(self) -> Mapping[str, WorkloadSpec]:
        """Those of every workload that was wanted since the agent's start."""
        return self._specs

    def logs(self) -> Mapping[str, Logs]:
        """What holds for the logs of every workload that was wanted since the agent's start."""
        return {workload: spec.logs for workload, spec in self._specs.items()}

    def shipped_logs(self) -> dict[str, Shipped | None]:
        """From which level on each log is sent to the hub."""
        return {workload: logs.ship for workload, logs in self.logs().items()}

    def log_ages(self) -> dict[str, float]:
        """How old the logs may be of those for which that is said, in seconds."""
        kept = {workload: logs.max_age for workload, logs in self.logs().items()}
        return {workload: age for workload, age in kept.items() if age is not None}

    def offline_for(self) -> float | None:
        status = self._link.status
        if status.state != "offline":
            self._outage = None
            return None
        if self._outage is None or self._outage.since != status.since:
            self._outage = _Outage(status.since, self._clock)
        return self._outage.seconds()

    def stop_all(self, workload: str) -> bool:
        return self._stops_services or (self._stops and not self.serves(workload))

    def serves(self, workload: str) -> bool:
        """Whether it is there for what else the device runs, as the broker is for drivers."""
        return self._device.is_local(workload)

    def remark(self, workload: str) -> str:
        told = self._unread.get(workload, "")
        return "; ".join(filter(None, (told, *(part.remark(workload) for part in self._local))))

    def ask_stop_all(self, *, services: bool) -> None:
        """`skerry node stop --workloads`: from now on nothing is wanted, until the next start of the node; `services`: nor what serves others."""
        self._stops, self._stops_services = True, services
        self.changed.ring()

    def _amended(self, wish: Assignment) -> Assignment:
        for part in self._local:
            wish = part.amended(wish)
        return wish

    async def _relay(self, source: Bell) -> None:
        seen = source.count
        while True:
            seen = await source.after(seen)
            self.changed.ring()


class _Outage:
    """One outage. The wall clock is read once, at its beginning: a clock that is set must not end workloads."""

    def __init__(self, since: int, clock: Clock) -> None:
        self.since = since
        self._clock = clock
        self._before = max(clock.wall_ns() - since, 0)
        self._seen = clock.monotonic_ns()

    def seconds(self) -> float:
        return (self._before + self._clock.monotonic_ns() - self._seen) / NS


class StoredStatuses:
    """Statuses as rows of the store, from where sync takes them. What runs in the foreground is not the hub's, nor what is `device`'s alone."""

    def __init__(self, store: NodeStore, foreground: ForegroundRuns, device: DeviceBook) -> None:
        self._store = store
        self._foreground = foreground
        self._device = device

    async def report(self, status: WorkloadStatus) -> None:
        if status.workload in self._foreground or self._device.is_local(status.workload):
            return
        await self._store.put(STATUS, status.workload, encode(status))

    async def forget(self, workload: str) -> None:
        await self._store.remove(STATUS, workload)
