"""A device that may want workers: a real configuration directory, and an engine that says what the test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from skerry.keeper.log_rules import LogRules
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.node.broker.granting import Granting
from skerry.node.drivers.limits import DriverLimits
from skerry.node.drivers.worker import WorkerPlaces, WorkerSources, WorkerWorkloads
from skerry.node.ports import ContainerLaunch, Launch, ProcessLaunch
from skerry.node.twin_ports import DeviceConfig
from skerry.wire.workload import Assignment

ENVIRONMENT = "11111111-2222-4333-8444-555555555555"
TWIN, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
NAME = "cyberwave-worker-11111111"
PLAIN = "cyberwaveos/edge-ml-worker:latest"


class Site:
    """A device; each field may be changed, with a ring of `bell`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "config"
        (self.directory / "workers").mkdir(parents=True)
        self.run = directory / "run"
        self.config = DeviceConfig("fp", "cw_device", ENVIRONMENT)
        self.twins = [TWIN]
        self.workflows: list[str] = []
        self.gpus: bool | None = False
        """None: no engine answers."""
        self.problems: dict[str, str] = {}
        self.gpu_problem = ""
        self.running: Mapping[str, Assignment] = {}
        self.barred = self.waits = self.held = ""
        self.limits = DriverLimits()
        self.command: tuple[str, ...] = ()
        self.bell = Bell()
        self.clock: Clock = SystemClock()
        self.tokens = Granting(b"secret", directory / "tokens", RealDisk())
        self.workloads = self.again()

    def again(self) -> WorkerWorkloads:
        """What the next agent has."""
        sources = WorkerSources(
            config=lambda: self.config,
            twins=lambda: self.twins,
            workflows=lambda: self.workflows,
            gpus=self._gpus,
            image_problem=lambda image: self.problems.get(image, ""),
            gpu_problem=lambda: self.gpu_problem,
            running=lambda: self.running,
            barred=lambda: self.barred,
            waits=lambda: self.waits,
            held=lambda: self.held,
            command=self.command,
        )
        places = WorkerPlaces(
            self.directory, self.run / "status", self.run / "views", self.run / "models", self.run / "bus",
            lambda workload, instance: self.run / "secrets" / workload / instance, 18883, 18884,
            limits=lambda _: self.limits,
        )  # fmt: skip
        return WorkerWorkloads(
            sources, places, self.tokens, _usual, [self.bell], disk=RealDisk(), clock=self.clock
        )

    async def _gpus(self) -> bool:
        if self.gpus is None:
            raise Transient("no container engine answers")
        return self.gpus

    def script(self, name: str = "a.py") -> Path:
        path = self.directory / "workers" / name
        path.write_text("print('x')\n")
        return path

    async def look(self) -> Assignment | None:
        await self.workloads.look()
        return next(iter(self.workloads.wanted()), None)

    async def image(self) -> str:
        found = await self.look()
        assert found is not None
        assert found.spec.container is not None
        return found.spec.container.image

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.workloads.follow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def _usual(assignment: Assignment, instance: str) -> Launch:
    spec = assignment.spec
    models = Path(f"/view-of-{len(assignment.models)}") if assignment.models else None
    common = Launch(
        instance=instance, workload=spec.name, environment=dict.fromkeys(("HOME", "PATH", "LANG"), "/"), strict=False,
        log=Path("/l"), log_rules=LogRules(1, 1, None, known=True, patterns=[]), models=models,
    )  # fmt: skip
    fields = msgspec.structs.asdict(common)
    if spec.container is None:
        return ProcessLaunch(**fields, command=("x",), directory=Path("/"), limits={}, home=Path("/"))  # fmt: skip
    return ContainerLaunch(
        **fields, spec=spec.container, resources=spec.resources, socket=Path("/s/sock")
    )
