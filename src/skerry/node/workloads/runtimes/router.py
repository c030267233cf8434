"""All runtimes of the device as one: implements `node.ports.Runtime` and passes each call to the one that it is for.

A container engine that is away or hangs holds up no process: its `connect` waits for it some seconds at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.kit.errors import Refused
from skerry.node.ports import (
    ContainerLaunch,
    InstanceNews,
    Launch,
    NeedGone,
    ProcessIdentity,
    ProcessLaunch,
    RunningInstance,
    StoredInstance,
    WasmLaunch,
)
from skerry.node.workloads.runtimes.beside import run_beside
from skerry.node.workloads.runtimes.held_sockets import HeldSockets
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.node.workloads.runtimes.secret_files import SecretFiles
from skerry.node.workloads.runtimes.wasm import check_module

if TYPE_CHECKING:
    from skerry.node.execution_port import Execution
    from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime
    from skerry.wire.executions import Wish


class Runtimes:
    """Implements `Runtime`, and `readiness.Execute`. `data_dir` is the node's own, which no module is given."""

    def __init__(
        self,
        processes: ProcessRuntime,
        containers: LazyContainers,
        data_dir: Path,
        secrets: SecretFiles,
    ) -> None:
        self._data_dir = data_dir
        self._secrets = secrets
        self._processes = processes
        self._containers = containers

    @property
    def keeper_pid(self) -> int | None:
        """The keeper that answers, or None while there is none."""
        return self._processes.keeper_pid

    @property
    def sockets(self) -> HeldSockets:
        """What outlives the processes that listen."""
        return self._processes.sockets

    async def connect(self, on_exit: Callable[[InstanceNews], None]) -> list[RunningInstance]:
        running = await self._processes.connect(on_exit)
        running += await self._containers.connect(on_exit)
        self._secrets.keep_only([one.instance for one in running])
        return running

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        containers = [one for one in known if isinstance(one.launch, ContainerLaunch)]
        processes = [one for one in known if isinstance(one.launch, ProcessLaunch)]
        taken = await self._containers.runtime().adopt(containers) if containers else []
        return [*taken, *await self._processes.adopt(processes)]

    async def start(self, launch: Launch) -> ProcessIdentity:
        if launch.lacks:
            raise NeedGone(f"cannot start workload «{launch.workload}»: {launch.lacks}")
        self._secrets.deliver(launch)
        try:
            return await self._started(launch)
        except (Refused, NeedGone):
            self._secrets.remove(launch.instance)
            raise

    def isolation(self, instance: str) -> str:
        return self._of(instance).isolation(instance)

    async def signal(self, instance: str, name: str) -> None:
        await self._of(instance).signal(instance, name)

    async def mask(self, workload: str, secrets: Sequence[str]) -> None:
        """From now on these texts are masked, too, in what the workload prints. Raises Refused or Transient."""
        await self._processes.mask(workload, secrets)
        if self._containers.opened is not None:
            await self._containers.opened.runtime.mask(workload, secrets)

    async def acknowledge(self, instance: str) -> None:
        await self._of(instance).acknowledge(instance)
        self._secrets.remove(instance)

    async def execute(self, launch: Launch, command: list[str]) -> int:
        """Runs a command inside the instance's container, or beside its process; returns its exit code."""
        if isinstance(launch, ContainerLaunch):
            return await self._containers.runtime().execute(launch.instance, command)
        if isinstance(launch, ProcessLaunch):
            return await run_beside(launch, command)
        raise Refused(f"cannot run {command[0]}: unknown runtime of workload «{launch.workload}»")

    async def execute_in(self, launch: Launch, wish: Wish) -> Execution:
        """Starts a command beside the instance's processes, confined as they are. Raises Refused or Transient."""
        if isinstance(launch, ContainerLaunch):
            from skerry.node.workloads.runtimes.containers.execution import (  # noqa: PLC0415 - most nodes never do
                begin,
            )

            containers = self._containers.runtime()
            container = containers.container(launch.instance)
            return await begin(
                containers.engine, container, wish, launch.workload, self._processes.keeper_socket
            )
        if isinstance(launch, WasmLaunch):
            raise Refused(
                f"cannot run a command in workload «{launch.workload}»: a WASM module has no programs inside; "
                f"«skerry logs {launch.workload}» shows what it prints"
            )
        assert isinstance(launch, ProcessLaunch)  # noqa: S101 - there are no other kinds
        return await self._processes.execute_in(launch, wish)

    async def close(self) -> None:
        if self._containers.opened is not None:
            await self._containers.opened.runtime.close()
        await self._processes.close()

    async def shut_down(self) -> None:
        if self._containers.opened is not None:
            await self._containers.opened.runtime.shut_down()
        await self._processes.shut_down()

    async def _started(self, launch: Launch) -> ProcessIdentity:
        if isinstance(launch, ContainerLaunch):
            return await self._containers.runtime().start(launch)
        if isinstance(launch, WasmLaunch):
            check_module(launch, self._data_dir)
        return await self._processes.start(launch)

    def _of(self, instance: str) -> ContainerRuntime | ProcessRuntime:
        room = self._containers.opened
        return room.runtime if room is not None and room.runtime.has(instance) else self._processes
