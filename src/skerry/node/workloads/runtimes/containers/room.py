"""All of a node's containers: what runs them, and what they need before they can be started. Built by `node.containers`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from skerry.node.workloads.runtimes.containers.devices import Devices
from skerry.node.workloads.runtimes.containers.images import Images
from skerry.node.workloads.runtimes.containers.output import ContainerLogs
from skerry.node.workloads.runtimes.containers.runtime import ContainerRuntime
from skerry.wire.workload import Assignment


class ContainerRoom(msgspec.Struct, frozen=True):
    """One engine's worth of everything."""

    runtime: ContainerRuntime
    images: Images
    devices: Devices
    logs: ContainerLogs

    def want(self, assignments: Iterable[Assignment]) -> None:
        """As `Needs.want`."""
        wanted = list(assignments)
        self.images.want(wanted)
        self.devices.want(wanted)

    def missing(self, assignment: Assignment) -> str:
        """As `Needs.missing`."""
        return self.images.missing(assignment) or self.devices.missing(assignment)

    async def close(self) -> None:
        """Ends what fetches; the runtime is closed by whoever closes all runtimes."""
        await self.images.close()
        self.devices.close()
