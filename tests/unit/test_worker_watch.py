"""What people hear of the workers, also when it could not be told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.kit.errors import Transient
from skerry.node.drivers.worker_watch import WatchSources, WorkerWatch
from skerry.testing.manual_clock import ManualClock
from skerry.testing.memory_alerts import MemoryAlerts
from skerry.wire.workload import Generation, Phase, WorkloadStatus

NAME = "cyberwave-worker-11111111"


class Silent:
    """A broker that takes everything."""

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        pass


async def test_what_could_not_be_told_is_told_at_the_next_look(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    alerts, phase = MemoryAlerts(), list[Phase](["starting"])

    def statuses() -> list[WorkloadStatus]:
        return [WorkloadStatus(NAME, Generation(0, 1), phase[0], manual_clock.wall_ns())]

    sources = WatchSources(
        workload=lambda: NAME,
        twins=lambda: ["t1"],
        statuses=statuses,
        groups=list,
        lacking=lambda _: {},
        status_file=lambda name: tmp_path / name,
        prefix=lambda: "",
    )
    watch = WorkerWatch(sources, alerts, Silent(), [], manual_clock)
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
