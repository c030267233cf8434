"""The containers' room, opened when the first container is wanted: most nodes have none, and memory counts.

Stands before `containers.room` as a part of the runtime (`router`), and implements `workloads.needs.Needs`,
`workloads.readiness.Health` and, with remarks only, `desired_state.LocalWishes`. A node that has had a container before (`known`) opens the room at its start, to find what still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.kit.bell import Bell
from skerry.node.ports import InstanceNews, RunningInstance
from skerry.node.twin_ports import Written
from skerry.wire.workload import Assignment

if TYPE_CHECKING:
    from skerry.node.workloads.runtimes.containers.room import ContainerRoom
    from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime

HAD_CONTAINERS = "containers.used"
"""In the data directory of a node that has, or had, containers."""


class LazyContainers:
    """`opened` is the room once there is one, `wanted` how many workloads need it. `open_room` is given the bell that rings when needs have changed."""

    def __init__(self, open_room: Callable[[Bell], ContainerRoom], *, known: bool) -> None:
        self.changed = Bell()
        self.told = Bell()
        """Never rings: who asks for remarks hears `changed`."""
        self.opened: ContainerRoom | None = None
        self.wanted = 0
        self._open_room = open_room
        self._known = known
        self._on_exit: Callable[[InstanceNews], None] | None = None

    async def connect(self, on_exit: Callable[[InstanceNews], None]) -> list[RunningInstance]:
        """As `Runtime.connect`; a node without containers asks no engine."""
        room = self._room() if self._known else self.opened
        self._on_exit = on_exit
        return [] if room is None else await room.runtime.connect(on_exit)

    @property
    def problem(self) -> str:
        """Why no engine answers; empty: one does, or nobody has needed it."""
        return "" if self.opened is None else self.opened.runtime.problem

    def runtime(self) -> ContainerRuntime:
        """What runs containers; the room is opened for it."""
        return self._room().runtime

    def health(self, instance: str) -> str | None:
        """As `readiness.Health`."""
        return None if self.opened is None else self.opened.runtime.health(instance)

    @property
    def health_changed(self) -> Bell:
        """One bell for all that containers tell: health changes rarely."""
        return self.changed

    def has_log(self, path: Path) -> bool:
        """Whether this log is being written here."""
        return self.opened is not None and self.opened.logs.has(path)

    def want(self, assignments: Iterable[Assignment]) -> None:
        wanted = [one for one in assignments if one.spec.container is not None]
        self.wanted = len(wanted)
        if wanted or self.opened is not None:
            self._room().want(wanted)

    def missing(self, assignment: Assignment) -> str:
        return "" if assignment.spec.container is None else self._room().missing(assignment)

    def amended(self, wish: Assignment) -> Assignment:
        """As it is."""
        return wish

    def remark(self, workload: str) -> str:
        """What its status should say of its image besides."""
        return "" if self.opened is None else self.opened.images.remark(workload)

    async def check(self, assignment: Assignment) -> None:
        """Nothing: the engine itself is the last look (`ports.NeedGone`)."""

    def image_problem(self, image: str) -> str:
        """Why an image cannot be had at present; empty: nothing is known against it."""
        return "" if self.opened is None else self.opened.images.problem(image)

    async def has_gpus(self) -> bool:
        """Whether the engine can give a container GPUs; the room is opened for it. Raises Transient."""
        return await self._room().images.has_gpus()

    async def load_image(self, archive: Path) -> list[str]:
        """Loads images from a file into the engine; see `containers.images`."""
        return await self._room().images.load(archive)

    async def gateway(self, network: str) -> str:
        """The address at which containers of a network reach this device. Raises Refused, Transient; see `containers.networks`."""
        from skerry.node.workloads.runtimes.containers.networks import (  # noqa: PLC0415 - most nodes never ask
            gateway,
        )

        return await gateway(self._room().runtime.engine, network)

    async def written(self, instance: str) -> Written:
        """Where the container of an instance writes; raises Transient, Refused; see `containers.written`."""
        from skerry.node.workloads.runtimes.containers.written import (  # noqa: PLC0415 - most nodes never ask
            written,
        )

        runtime = self._room().runtime
        container = runtime.container(instance)
        return await written(runtime.engine, container) if container else Written()

    async def layer_size(self, instance: str) -> int:
        """Bytes of its layer by the engine's count; raises Transient, Refused."""
        from skerry.node.workloads.runtimes.containers.written import (  # noqa: PLC0415 - as above
            layer_size,
        )

        runtime = self._room().runtime
        container = runtime.container(instance)
        return await layer_size(runtime.engine, container) if container else 0

    async def close(self) -> None:
        if self.opened is not None:
            await self.opened.close()

    def _room(self) -> ContainerRoom:
        if self.opened is None:
            self.opened = self._open_room(self.changed)
            if self._on_exit is not None:
                self.opened.runtime.watch(self._on_exit)
        return self.opened
