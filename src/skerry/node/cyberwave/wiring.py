"""Drivers and workers of Cyberwave on this node: built where `cyberwave.enabled` asks for them, else nothing of it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.core.names import DEVICES_OWN
from skerry.kit.errors import Refused
from skerry.kit.tasks import Tasks, attempted
from skerry.node.device_workloads import DeviceBook, LaunchFor
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.host import Host
from skerry.node.models.named import ScriptModels
from skerry.node.models.on_demand import ModelsOnDemand
from skerry.node.node_settings import NodeSettings
from skerry.node.ports import LogSource
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.records import RecordStore
from skerry.node.sync.sync import Sync
from skerry.node.twin_ports import EdgeOrders
from skerry.node.workloads.runtimes.held_sockets import HeldSockets
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.supervise import Supervisor
from skerry.node.workloads.workers.groups import WorkerGroups
from skerry.wire.cyberwave import CyberwaveStatus
from skerry.wire.local import LinkStatus
from skerry.wire.records import ClockQuality

if TYPE_CHECKING:
    from skerry.node.cyberwave.room import CyberwaveRoom


class CyberwaveParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the room is made of. `owner` is the node's mark, `quality` that of its clock.

    `usual` makes the launch of any workload; `secrets_at` says where files of an instance lie that only memory holds.
    """

    settings: NodeSettings
    host: Host
    opened: OpenedStore
    records: RecordStore
    files: FilesOnDemand
    shared: SharedOnDemand
    containers: LazyContainers
    logs: LogSource
    instances: InstanceStore
    supervisor: Supervisor
    events: OwnEvents
    owner: str
    quality: Callable[[], ClockQuality]
    sync: Sync
    usual: LaunchFor
    secrets_at: Callable[[str, str], Path]
    groups: WorkerGroups
    named: ScriptModels
    models: ModelsOnDemand
    sockets: HeldSockets


class CyberwaveOnDemand:
    """The room, if there is one; it answers from when it is open."""

    def __init__(self, parts: CyberwaveParts, book: DeviceBook) -> None:
        self._parts = parts
        self._built: CyberwaveRoom | None = None
        self.room: CyberwaveRoom | None = None
        if parts.settings.cyberwave.enabled:
            from skerry.node.cyberwave.room import CyberwaveRoom  # noqa: PLC0415 - most nodes have no twins

            self._built = CyberwaveRoom(parts)
            book.sources = [self._built.wishes]

    async def open(self) -> None:
        """Before anything is started: what is not known by then counts as not wanted. Raises Refused."""
        if self._built is not None:
            await self._built.open()
            self.room = self._built

    async def status(self, link: LinkStatus) -> CyberwaveStatus | None:
        """For people; None: this node serves no twins, or is just starting."""
        return None if self.room is None else await self.room.status(link)

    async def start_driver(self, twin: str) -> str:
        """As `twin_ports.DriverStarts`. Raises Refused, too."""
        if self.room is None:
            raise Refused("cannot start a driver: this node serves no twins. Set cyberwave.enabled")
        return await self.room.start_driver(twin)

    async def close(self) -> None:
        """Nothing is answered any more."""
        if self.room is not None:
            await self.room.close()

    @property
    def fingerprint(self) -> str:
        """As which device twins know this one, once it is open; empty: it serves none."""
        return "" if self.room is None else self.room.directory.config.fingerprint

    @property
    def no_broker(self) -> str | None:
        """Why drivers have no broker; empty: they have one. None: this node serves no twins."""
        return None if self._built is None else self._built.broker.problem

    @property
    def orders(self) -> EdgeOrders | None:
        """What carries out the hub's orders about twins; None: this node serves none."""
        return self.room

    def follow(self, tasks: Tasks) -> None:
        """Its loops, for as long as the tasks run."""
        if self.room is not None:
            self.room.follow(tasks)
        else:
            _ = tasks.start(self._give_up_ports(), name="ports that nobody listens at")

    async def _give_up_ports(self) -> None:
        """This node serves no twins any more: once nothing is left that would say its token there."""
        seen, parts = 0, self._parts
        await parts.sockets.found.after(0)
        while any(
            _is_own(name) and one.instance is not None
            for name, one in parts.instances.load().items()
        ):
            seen = await parts.supervisor.news.after(seen)
        for name in filter(_is_own, parts.sockets.names):
            await attempted(
                f"the ports of {name} are still held", partial(parts.sockets.hold, name, [])
            )


def _is_own(name: str) -> bool:
    """Whether what is called so is this feature's."""
    return name.startswith(DEVICES_OWN)
