"""What people hear of the workers, also when it could not be told at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.kit.clock import NS, iso
from skerry.kit.errors import Transient
from skerry.node.drivers.worker_watch import WatchSources, WorkerWatch, health_of
from skerry.testing.manual_clock import ManualClock
from skerry.testing.memory_alerts import MemoryAlerts
from skerry.testing.waiting import eventually
from skerry.wire.local import WorkerRestart, WorkerStatus
from skerry.wire.workload import Generation, Phase, WorkloadStatus

NAME = "cyberwave-worker-11111111"
NOW = 1_760_000_000 * NS


class Broker:
    """Takes everything, unless it is away."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any], int]] = []
        self.away = False

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        if self.away:
            raise Transient("the broker is away")
        self.taken.append((topic, json.loads(payload), qos))


def group(phase: Phase, *, ready: bool = False, suspended_until: int | None = None) -> WorkerStatus:
    """That was started a minute ago, after three restarts, two of them automatic."""
    restarts = [
        WorkerRestart(NOW - 60 * NS, "crash", "exit 1"),
        WorkerRestart(NOW - 90 * NS, "reload", "a.py"),
        WorkerRestart(NOW - 900 * NS, "manual", "by ada"),
    ]
    return WorkerStatus(
        status=WorkloadStatus(NAME, Generation(0, 1), phase, NOW, ready),
        directory="/w",
        scripts=["a.py"],
        problem="",
        watched="inotify",
        started_at=NOW - 60 * NS,
        change=None,
        automatic=2,
        suspended_until=suspended_until,
        stopped_at=None,
        stopped_by="",
        restarts=restarts,
    )


def sources_of(directory: Path, **others: Any) -> WatchSources:
    sources = WatchSources(
        workload=lambda: NAME,
        twins=lambda: ["t1"],
        statuses=list,
        groups=list,
        lacking=lambda _: {},
        status_file=lambda name: directory / name,
        prefix=lambda: "",
    )
    return msgspec.structs.replace(sources, **others)


def test_the_health_of_a_worker_is_the_documented_message() -> None:
    assert health_of(group("running", ready=True), NOW, is_up=True) == {
        "container_name": NAME,
        "container_status": "running",
        "is_healthy": True,
        "is_ready": True,
        "restart_count": 3,
        "recent_restarts": 2,
        "circuit_breaker_tripped": False,
        "uptime_seconds": 60.0,
        "observed_at": iso(NOW),
    }


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        (group("running"), {"is_healthy": False, "is_ready": False}),
        (
            group("tripped"),
            {"container_status": "exited", "circuit_breaker_tripped": True, "uptime_seconds": 0.0},
        ),
        (
            group("backoff", suspended_until=NOW + NS),
            {"container_status": "exited", "circuit_breaker_tripped": True},
        ),
        (group("backoff"), {"container_status": "exited", "circuit_breaker_tripped": False}),
    ],
)
def test_a_worker_that_is_not_well_says_so(found: WorkerStatus, differs: dict[str, object]) -> None:
    health = health_of(found, NOW, is_up=True)
    assert not health["is_healthy"]
    assert differs.items() <= health.items()


def test_a_worker_that_still_loads_is_healthy_and_not_ready() -> None:
    health = health_of(group("running", ready=True), NOW, is_up=False)
    assert (health["is_healthy"], health["is_ready"]) == (True, False)


def test_a_clock_that_was_set_back_makes_no_time_negative() -> None:
    assert health_of(group("running"), NOW - 3600 * NS, is_up=True)["uptime_seconds"] == 0.0


async def test_health_is_published_each_15_seconds_and_a_broker_that_is_away_ends_nothing(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    broker, groups = Broker(), list[WorkerStatus]()
    sources = sources_of(
        tmp_path, twins=lambda: ["t1", "t2"], groups=lambda: groups, prefix=lambda: "lab"
    )
    watch = WorkerWatch(sources, MemoryAlerts(), broker, [], manual_clock)
    await watch.look()
    task = asyncio.create_task(watch.publish_health())

    async def passes(seconds: float) -> None:
        manual_clock.advance(seconds)
        await eventually(lambda: manual_clock.sleepers == 1, "it waits again")

    try:
        await eventually(lambda: manual_clock.sleepers == 1, "it waits")
        await passes(15)
        groups.append(group("running", ready=True))
        broker.away = True
        await passes(15)
        broker.away = False
        await passes(14)
        assert not broker.taken
        await passes(1)
    finally:
        task.cancel()
        await asyncio.wait([task])
    expected = health_of(groups[0], manual_clock.wall_ns(), is_up=False)
    assert broker.taken == [("labcyberwave/twin/t1/worker_health", expected, 0)]


async def test_what_could_not_be_told_is_told_at_the_next_look(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    alerts, phase = MemoryAlerts(), list[Phase](["starting"])

    def statuses() -> list[WorkloadStatus]:
        return [WorkloadStatus(NAME, Generation(0, 1), phase[0], manual_clock.wall_ns())]

    sources = sources_of(tmp_path, statuses=statuses)
    watch = WorkerWatch(sources, alerts, Broker(), [], manual_clock)
    for told, kind in (("starting", "worker_starting"), ("failed", "worker_start_failure")):
        phase[0] = told  # type: ignore[call-overload]
        alerts.failures = 1
        with pytest.raises(Transient):
            await watch.look()
        assert not alerts.of(kind)
        await watch.look()
        assert len(alerts.of(kind)) == 1
        await watch.look()
        assert len(alerts.all) == (1 if kind == "worker_starting" else 2)
