"""What runs the workers of an environment on this node, put together: the workload, the workflows' files, what people are told."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.kit.tasks import Tasks
from skerry.node.broker.granting import Granting
from skerry.node.device_workloads import LaunchFor
from skerry.node.drivers.worker import SCRIPTS, WorkerPlaces, WorkerSources, WorkerWorkloads
from skerry.node.drivers.worker_watch import WatchSources, WorkerWatch
from skerry.node.drivers.workflows import WorkflowFiles
from skerry.node.host import Host
from skerry.node.node_settings import NodeSettings
from skerry.node.store.entity_rows import EntityRows
from skerry.node.store.instances import InstanceStore
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.state import NodeStore
from skerry.node.twin_ports import Alerts, Publish
from skerry.node.twins.config_dir import ConfigDirectory, disk_for
from skerry.node.twins.rows import TwinStore
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.supervise import Supervisor
from skerry.node.workloads.workers.groups import WorkerGroups
from skerry.wire.workload import Assignment

COMMAND = "CYBERWAVE_WORKER_COMMAND"
"""Of the agent's own environment: what runs the workers on the device itself."""


class WorkerParts(msgspec.Struct, frozen=True):
    """What it is made of. `usual` makes the launch of any workload, `lacking` says what models a workload is without, and why.

    `prefix` is that of the topics; `router` the Zenoh router's endpoint on the device.
    """

    settings: NodeSettings
    host: Host
    directory: ConfigDirectory
    facts: NodeStore
    rows: SharedRows
    entities: EntityRows
    twins: TwinStore
    alerts: Alerts
    publish: Publish
    tokens: Granting
    containers: LazyContainers
    instances: InstanceStore
    supervisor: Supervisor
    groups: WorkerGroups
    usual: LaunchFor
    secrets_at: Callable[[str, str], Path]
    lacking: Callable[[str], Mapping[str, str]]
    prefix: str
    router: Callable[[], str] = str


class WorkersRoom:
    """`open` comes before anything is started, then `follow`. `workloads` is what the device wants of it."""

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        clock, directory = parts.host.clock, parts.directory
        disk = disk_for(directory.path)
        self.workflows = WorkflowFiles(
            parts.rows,
            parts.entities,
            parts.facts,
            directory.config.environment,
            self._twins,
            directory=directory.path / SCRIPTS,
            disk=disk,
            clock=clock,
        )
        changes = [directory.changed, parts.twins.changed, self.workflows.changed]
        self.workloads = WorkerWorkloads(
            self._sources(),
            self._places(),
            parts.tokens,
            parts.usual,
            [*changes, parts.containers.changed],
            disk=parts.host.disk,
            clock=clock,
        )
        news = [parts.supervisor.news, self.workloads.told, parts.twins.changed]
        self._watch = WorkerWatch(self._watched(), parts.alerts, parts.publish, news, clock)
        self._changes: Sequence[Bell] = [parts.twins.changed]

    async def open(self) -> None:
        """Knows the workflows and what is wanted. Raises as the store does."""
        await self.workflows.open()
        _ = await self.workloads.look()

    def follow(self, tasks: Tasks) -> None:
        """The loops, for as long as the tasks run."""
        tasks.forever(self.workflows.follow(self._changes), name="files of workflows")
        tasks.forever(self.workloads.follow(), name="workers of twins")
        tasks.forever(self._watch.follow(), name="starts of workers")
        tasks.forever(self._watch.publish_health(), name="health of workers")

    def _twins(self) -> Sequence[str]:
        return [twin.uuid for twin in self._parts.twins.linked()]

    def _sources(self) -> WorkerSources:
        parts = self._parts
        own = parts.settings.cyberwave.variables
        return WorkerSources(
            config=lambda: parts.directory.config,
            twins=self._twins,
            workflows=lambda: self.workflows.workflows,
            gpus=parts.containers.has_gpus,
            image_problem=parts.containers.image_problem,
            running=self._running,
            router=parts.router,
            command=tuple(shlex.split(own.get(COMMAND, ""))),
        )

    def _running(self) -> Mapping[str, Assignment]:
        found = self._parts.instances.load().items()
        return {name: one.assignment for name, one in found if one.instance is not None}

    def _places(self) -> WorkerPlaces:
        parts, settings = self._parts, self._parts.settings
        root = settings.run_dir / "cyberwave"
        return WorkerPlaces(
            directory=parts.directory.path,
            status=root / "status",
            views=root / "views",
            secrets_at=parts.secrets_at,
            rest_port=settings.cyberwave.rest_port,
            mqtt_port=settings.cyberwave.mqtt_port,
            system=platform.system().lower(),
            memory=_memory(),
        )

    def _watched(self) -> WatchSources:
        parts = self._parts
        return WatchSources(
            workload=lambda: next((one.workload for one in self.workloads.wanted()), ""),
            twins=self._twins,
            statuses=parts.supervisor.statuses,
            groups=parts.groups.statuses,
            lacking=parts.lacking,
            status_file=self.workloads.status_file,
            prefix=lambda: parts.prefix,
        )


def _memory() -> int:
    """The device's, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError) as error:
        raise Transient(f"cannot tell how much memory there is: {error}") from error
