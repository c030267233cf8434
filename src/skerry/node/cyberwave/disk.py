"""What the watch over disks looks at on this node: drivers and workers that run, and the places where they write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from skerry.node.cyberwave.wiring import CyberwaveParts
from skerry.node.drivers.disk_use import DRIVERS_PART, WORKERS_PART
from skerry.node.drivers.disk_watch import Bus, Program
from skerry.node.drivers.launches import PREFIX, recipe_of
from skerry.node.drivers.views import LIBRARY
from skerry.node.ports import Excess, Living
from skerry.node.twin_ports import Written
from skerry.wire.workload import Assignment


class Disks:
    """Implements `drivers.disk_watch.Around`.

    `root` is where the node keeps what it makes for drivers and workers, `config_dir` the configuration directory. `running`
    are the assignments as they were started, `twins` this device's.
    """

    def __init__(
        self,
        parts: CyberwaveParts,
        root: Path,
        config_dir: Path,
        bus: Bus | None,
        running: Callable[[], Mapping[str, Assignment]],
        twins: Callable[[], Collection[str]],
    ) -> None:
        self.bus = bus
        self.twins = twins
        self._parts = parts
        self._root = root
        self._config_dir = config_dir
        self._running = running

    @property
    def fixed(self) -> Sequence[Path]:
        return [self._parts.settings.data_dir, self._config_dir]

    def programs(self) -> Sequence[Program]:
        running = self._running()
        return [
            self._program(one, running[one.workload])
            for one in self._parts.supervisor.living()
            if one.workload in running
        ]

    async def written(self, instance: str) -> Written:
        return await self._parts.containers.written(instance)

    async def layer_size(self, instance: str) -> int:
        return await self._parts.containers.layer_size(instance)

    def end(self, excess: Excess) -> None:
        self._parts.supervisor.end(excess)

    def _program(self, one: Living, assignment: Assignment) -> Program:
        name, settings = one.workload, self._parts.settings
        contained = assignment.spec.container is not None and one.identity is not None
        pid = one.identity.pid if contained and one.identity else 0
        own = [settings.data_dir / "workloads" / name]
        if name.startswith(PREFIX):
            twin = recipe_of(assignment).twin
            own.append(self._config_dir / f"{twin}.json")
            if (self._root / "views" / name / LIBRARY).is_dir():
                own.append(self._config_dir / LIBRARY)
            found, setting = (twin,), settings.cyberwave.driver_storage
            return Program(name, one.instance, found, tuple(own), pid, DRIVERS_PART, setting)
        own += [self._root / "status" / name, self._root / "models" / name]
        twins, setting = tuple(self.twins()), settings.cyberwave.worker_storage
        return Program(name, one.instance, twins, tuple(own), pid, WORKERS_PART, setting)
