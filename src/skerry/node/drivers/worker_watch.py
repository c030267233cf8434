"""Tells people what becomes of the workers: alerts of their twins, the agent's log, and `worker_health` on the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import NS, Clock, iso
from skerry.kit.errors import SkerryError, Transient
from skerry.node.drivers.worker_starts import Start, Step, judge, read_progress
from skerry.node.twin_ports import Alerts, NodeAlert, Publish
from skerry.wire.local import WorkerStatus
from skerry.wire.workload import WorkloadStatus

HEALTH_EVERY = 15.0
LOOK_EVERY = 1.0
"""Seconds between two looks at what a worker says while it starts."""

_REST = 0.2
"""Seconds between two looks at all: other workloads may change all the time."""

STARTING, FAILURE, MODEL = "worker_starting", "worker_start_failure", "model_download_failure"

log = logging.getLogger(__name__)


class WatchSources(msgspec.Struct, frozen=True):
    """What is looked at. `workload` is the workers' name; empty: none is wanted. `lacking` are the models that it is without, and why."""

    workload: Callable[[], str]
    twins: Callable[[], Sequence[str]]
    statuses: Callable[[], Sequence[WorkloadStatus]]
    groups: Callable[[], Sequence[WorkerStatus]]
    lacking: Callable[[str], Mapping[str, str]]
    status_file: Callable[[str], Path]
    prefix: Callable[[], str]


class WorkerWatch:
    """`follow` tells alerts, `publish_health` the broker; both go on for ever. `changes` ring when an answer may be another."""

    def __init__(
        self,
        sources: WatchSources,
        alerts: Alerts,
        publish: Publish,
        changes: Sequence[Bell],
        clock: Clock,
    ) -> None:
        self._sources = sources
        self._alerts = alerts
        self._publish = publish
        self._changes = changes
        self._clock = clock
        self._start = Start()
        self._name = ""
        self._open: dict[str, str] = {}
        """Alerts of a start, by twin."""
        self._lacking: dict[str, list[str]] = {}
        """Alerts of models, by name."""
        self._first = True

    async def follow(self) -> None:
        """Looks whenever something may have changed."""
        rings = Rings(self._changes)
        while True:
            rings.note()
            try:
                await self.look()
            except (Transient, OSError) as error:
                log.warning("cannot tell of the workers, trying again: %s", error)
            await self._clock.sleep(_REST)
            pause = LOOK_EVERY if self._start.state in ("starting", "failed") else HEALTH_EVERY
            await rings.next(self._clock, pause)

    async def look(self) -> None:
        """Looks once, and tells what is new. Raises as the alerts do."""
        name = self._sources.workload()
        if name != self._name:
            await self._steps([Step("over")] if self._name else [], {})
            self._name, self._start = name, Start()
        status = next((one for one in self._sources.statuses() if one.workload == name), None)
        progress = None
        if name:
            path = self._sources.status_file(name)
            progress = await asyncio.to_thread(read_progress, path)
        start, steps = judge(self._start, status, progress, self._clock.wall_ns())
        await self._steps(steps, start.progress.told)
        self._start = start
        await self._tell_models(self._sources.lacking(name) if name else {})

    async def publish_health(self) -> None:
        """Publishes the documented message, as often as edge-core does."""
        while True:
            await self._clock.sleep(HEALTH_EVERY)
            group = next(
                (one for one in self._sources.groups() if one.status.workload == self._name), None
            )
            twins = self._sources.twins()
            if group is None or not twins:
                continue
            topic = f"{self._sources.prefix()}cyberwave/twin/{twins[0]}/worker_health"
            is_up = self._start.state == "up"
            payload = msgspec.json.encode(health_of(group, self._clock.wall_ns(), is_up=is_up))
            try:
                await self._publish.publish(topic, payload, 0)
            except SkerryError as error:
                log.debug("cannot publish the workers' health: %s", error)

    async def _steps(self, steps: Sequence[Step], progress: Mapping[str, object]) -> None:
        for step in steps:
            match step.what:
                case "begins":
                    await self._tell_start(step.text)
                case "progress":
                    for uuid in self._open.values():
                        await self._alerts.amend(uuid, progress)
                case "up":
                    log.info("worker %s is ready", self._name)
                    await self._resolve(STARTING, FAILURE)
                case "failed":
                    await self._tell_failure(step.text)
                case "exited":
                    log.warning(
                        "worker %s exited by itself: %s. It is started again, unless it does so too often",
                        self._name,
                        step.text,
                    )
                case "over":
                    await self._resolve(STARTING, FAILURE)

    async def _tell_start(self, message: str) -> None:
        await self._resolve(STARTING)
        metadata = {"container_name": self._name, "phase": message or "starting_container"}
        text = f"The workers of this device ({self._name}) are being started."
        for twin in self._sources.twins():
            alert = NodeAlert(STARTING, text, metadata, force=True)
            self._open[twin] = await self._alerts.tell(twin, alert)

    async def _tell_failure(self, why: str) -> None:
        log.warning("worker %s could not be started: %s", self._name, why)
        await self._resolve(STARTING)
        text = f"The workers of this device ({self._name}) could not be started: {why}. It is tried again."
        for twin in self._sources.twins():
            alert = NodeAlert(FAILURE, text, {"container_name": self._name})
            await self._alerts.tell(twin, alert)

    async def _tell_models(self, lacking: Mapping[str, str]) -> None:
        for name in lacking.keys() - self._lacking.keys():
            text = (
                f"Model «{name}» could not be loaded, the workers run without it: {lacking[name]}"
            )
            log.warning("%s", text)
            alert = NodeAlert(MODEL, text, {"model_id": name})
            self._lacking[name] = [
                await self._alerts.tell(twin, alert) for twin in self._sources.twins()
            ]
        for name in [one for one in self._lacking if one not in lacking]:
            for uuid in self._lacking.pop(name):
                await self._alerts.resolve(uuid)
        if self._first and not lacking and self._start.state == "up":
            self._first = False
            await self._resolve(MODEL)  # those of an agent before this one

    async def _resolve(self, *kinds: str) -> None:
        self._open.clear()
        for twin in self._sources.twins():
            for kind in kinds:
                await self._alerts.resolve_kind(twin, kind)


def health_of(group: WorkerStatus, now: int, *, is_up: bool) -> dict[str, object]:
    """The documented message about a worker; `now` in ns since 1970. `is_up`: its program has said that it is ready."""
    status = group.status
    runs = status.phase == "running"
    started = group.started_at if runs else None
    return {
        "container_name": status.workload,
        "container_status": "running" if runs else "exited",
        "is_healthy": runs and status.ready,
        "is_ready": runs and status.ready and is_up,
        "restart_count": len(group.restarts),
        "recent_restarts": group.automatic,
        "circuit_breaker_tripped": group.suspended_until is not None or status.phase == "tripped",
        "uptime_seconds": 0.0 if started is None else max(now - started, 0) / NS,
        "observed_at": iso(now),
    }
