"""The drivers and the workers of one environment on this node: what is wanted, how it is started, what is told of it."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from skerry.core.cyberwave.drivers import Platform
from skerry.core.cyberwave.knobs import knobs_of
from skerry.core.cyberwave.names import worker_container
from skerry.core.cyberwave.recordings import channel_rules
from skerry.kit.clock import NS
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Transient
from skerry.kit.own_hosts import LOOPBACK
from skerry.kit.tasks import Loops
from skerry.node.broker.children import BrokerWorkloads
from skerry.node.broker.commands import GatePlan
from skerry.node.broker.granting import Granting
from skerry.node.broker.link import GateLink
from skerry.node.bus.router import BusPlan, BusWorkloads, has_zenoh
from skerry.node.bus.shared_memory import MEMORY, clear, sweep
from skerry.node.contracts.cyberwave import ROUTER, SharedMemory
from skerry.node.contracts.cyberwave_worker import WORKER_PREFIX
from skerry.node.contracts.native import log_path
from skerry.node.cyberwave.disk import Disks
from skerry.node.cyberwave.engine import EngineQuestions
from skerry.node.cyberwave.living import running_of
from skerry.node.cyberwave.places import Shared, device_memory, may_raise_limits, shared_size
from skerry.node.cyberwave.wiring import CyberwaveParts
from skerry.node.drivers.device import Device, Served
from skerry.node.drivers.disk_watch import Bus, DiskWatch
from skerry.node.drivers.launches import PREFIX
from skerry.node.drivers.limits import controllers, limits_here, worker_limits
from skerry.node.drivers.log_owners import LogOwners
from skerry.node.drivers.room import DriverParts, DriverRoom
from skerry.node.drivers.telling import Teller
from skerry.node.drivers.worker import WorkerPlaces, WorkerSources, WorkerWorkloads
from skerry.node.drivers.worker_starts import gpu_problem
from skerry.node.drivers.worker_watch import WatchSources, WorkerWatch
from skerry.node.drivers.workflows import WorkflowFiles
from skerry.node.log_tails import LogTails
from skerry.node.store.driver_marks import DriverStore
from skerry.node.twin_ports import Alerts, DeviceConfig, DeviceWorkloads, Publish
from skerry.node.twins.config_dir import ConfigDirectory
from skerry.node.twins.files import TwinFiles
from skerry.node.twins.rows import TwinStore
from skerry.node.twins.syncing import FileSync
from skerry.wire.cyberwave import TwinDriver
from skerry.wire.data_bus import Ring
from skerry.wire.workload import Assignment, WorkloadStatus

log = logging.getLogger(__name__)

_LEFT_ALONE = 60.0
"""Seconds after which what a program has left is nobody's."""

_JETSON = Path("/etc/nv_tegra_release")
"""Only NVIDIA's boards have it."""


class GateSide(msgspec.Struct, frozen=True):
    """What drivers speak to, as the agent has it. `prefix` says what their topics begin with."""

    plan: GatePlan
    broker: BrokerWorkloads
    shared: Shared
    link: GateLink
    tokens: Granting
    prefix: Callable[[], str]


class Twins(msgspec.Struct, frozen=True):
    """What drivers and workers are started for, and where that is. `config` is as it is now, for the environment that is served."""

    directory: ConfigDirectory
    config: Callable[[], DeviceConfig]
    rows: TwinStore
    files: TwinFiles
    syncing: FileSync
    alerts: Alerts
    workflows: WorkflowFiles
    said: Publish
    """The device's own signs of life go by it."""

    def served(self) -> list[Served]:
        """The twins of this device."""
        rows = self.rows
        return [Served(one.uuid, one.body, rows.asset_of(one) or {}) for one in rows.linked()]


class Programs:
    """`open` comes before anything is started, then `follow`."""

    def __init__(self, parts: CyberwaveParts, gate: GateSide, twins: Twins) -> None:
        self._parts, self._gate, self._twins = parts, gate, twins
        self._root = parts.settings.data_dir.absolute() / "cyberwave"
        self._engine = EngineQuestions(parts.containers)
        self.bus = BusWorkloads(self._bus_plan(), parts.usual, zenoh=has_zenoh())
        self._disk_alerts = Teller(twins.alerts, parts.host.clock, parts.host.chance)
        self._disks = DiskWatch(self._around_disks(), self._disk_alerts, parts.host.clock)
        self.worker = self._worker()
        log_of = partial(log_path, parts.settings.data_dir)
        self.log_owners = LogOwners(log_of, parts.host.clock, RealDisk())
        self.room = DriverRoom(self._driver_parts())
        self.drivers = self.room.workloads
        self._worker_watch = self._watch_of_worker()
        self.sources: Sequence[DeviceWorkloads] = [self.bus, self.drivers, self.worker]

    async def open(self) -> None:
        """Finds out what is wanted, before anything is started."""
        await self._twins.workflows.open()
        await self.room.restore()
        await self.worker.look()
        self._engine.patience = None

    def follow(self, loops: Loops) -> None:
        """Starts them."""
        twins = self._twins
        self.room.follow(loops)
        loops.start(self._listen, name="addresses for containers")
        loops.start(self._follow_bus, name="data bus")
        loops.start(self._disks.run, name="disks of drivers")
        loops.start(self._disk_alerts.run, name="alerts of disks")
        loops.start(self._sweep, name="shared memory that is left")
        loops.start(
            partial(twins.workflows.follow, [twins.rows.changed]), name="workers of workflows"
        )
        loops.start(partial(self.worker.follow, [self.room.order.told]), name="workers")
        loops.start(self._worker_watch.follow, name="alerts of workers")
        loops.start(self._worker_watch.publish_health, name="health of workers")

    def shown(self) -> list[TwinDriver]:
        """The twins with their drivers, for people."""
        marks = self.room.watch.marks()
        problems = {one.twin: one.text for one in self.drivers.troubles}
        return [
            TwinDriver(
                one.uuid,
                str(one.body.get("name") or one.uuid),
                self.driver_of(one.uuid) or "",
                marks[one.uuid].since if one.uuid in marks else None,
                problems.get(one.uuid, ""),
            )
            for one in self._twins.served()
        ]

    def driver_of(self, twin: str) -> str | None:
        """The workload that drives a twin; None: there is none."""
        wanted = self.drivers.wanted()
        return next(
            (one.workload for one in wanted if self.drivers.twin_of(one.workload) == twin), None
        )

    def _device(self) -> Device:
        settings, cyberwave = self._parts.settings, self._parts.settings.cyberwave
        return Device(
            self._twins.config(),
            Platform(platform.system(), platform.machine(), _JETSON.exists()),
            self._twins.directory.path,
            self._root / "views",
            self._gate.shared.bus,
            [settings.data_dir.absolute(), *settings.engine_sockets],
            cyberwave.privileged,
            cyberwave.rest_port,
            cyberwave.mqtt_port,
            str(self._bus_plan().port) if self.bus.endpoint() else "",
            self._shared_memory(),
            limits_here(
                cyberwave.driver_memory, cyberwave.driver_pids, device_memory(), controllers()
            ),
            cyberwave.driver_variables,
        )

    def _shared_memory(self) -> SharedMemory | None:
        place = self._gate.shared.memory
        return None if place is None else SharedMemory(place, locks=may_raise_limits())

    def _around_disks(self) -> Disks:
        shared, twins = self._gate.shared, self._twins
        return Disks(
            self._parts,
            self._root,
            twins.directory.path,
            Bus(shared.bus, shared_size(self._parts.settings.cyberwave.shared_memory)),
            lambda: {
                name: one
                for name, one in self._running().items()
                if name.startswith((PREFIX, WORKER_PREFIX)) and one.local.recipe
            },
            twins.rows.uuids,
        )

    def _bus_plan(self) -> BusPlan:
        knobs = knobs_of(self._twins.config().variables)
        settings = self._parts.settings.cyberwave
        return BusPlan(
            settings.zenoh_router or knobs.router,
            knobs.router_port,
            str(self._gate.shared.bus) if knobs.data_backend == "filesystem" else "",
            channel_rules(settings.record),
            Ring(size=settings.ring_size, sealed=self._parts.opened.cipher.seals),
        )

    async def _follow_bus(self) -> None:
        """What cannot be had is told once."""
        told, seen = "", self._twins.directory.changed.count
        while True:
            if self.bus.problem not in ("", told):
                log.warning("%s", self.bus.problem)
            told = self.bus.problem
            seen = await self._twins.directory.changed.after(seen)
            self.bus.take(self._bus_plan())

    def _router(self) -> Assignment | None:
        return next(iter(self.bus.wanted()), None) if self.bus.endpoint() else None

    def _serve_bus(self, hosts: Collection[str]) -> None:
        self.bus.serve(
            self._twins.rows.uuids(),
            sorted(hosts),
            all_known=self.drivers.knows_networks,
            running=self._running().get(ROUTER),
        )

    def _driver_parts(self) -> DriverParts:
        parts, twins, opened = self._parts, self._twins, self._parts.opened
        return DriverParts(
            served=twins.served,
            device=self._device,
            changes=[
                twins.rows.changed,
                twins.directory.changed,
                self.bus.told,
                self._gate.link.changed,
            ],
            sync_files=twins.syncing.look,
            clear_files=twins.syncing.clear,
            exchange=self._exchange,
            usual=parts.usual,
            secrets_at=parts.secrets_at,
            gateway=self._engine.gateway,
            reach=self._serve_bus,
            unreached=self._gate.link.unreached,
            running=self._running,
            barred=twins.directory.barred,
            router=self._router,
            tokens=self._gate.tokens,
            said=twins.said,
            publish=self._gate.link,
            owners=self.log_owners,
            tails=LogTails(partial(log_path, parts.settings.data_dir), parts.host.clock.wall_ns()),
            alerts=twins.alerts,
            statuses=parts.supervisor,
            store=DriverStore(opened.writer, opened.reader),
            clock=parts.host.clock,
            disk=RealDisk(),
            disks=self._disks,
            chance=parts.host.chance,
            beside=[self.worker],
        )

    async def _exchange(self, seconds: float) -> None:
        from skerry.node.sync.on_request import sync_now  # noqa: PLC0415 - only when somebody restarts drivers

        await sync_now(self._parts.sync, self._parts.host.clock, seconds)

    async def _sweep(self) -> None:
        """At the start, and some time after a program has ended: a killed one leaves its shared memory behind."""
        clock, ended = self._parts.host.clock, self.room.watch.running
        seen = 0
        while True:
            await self._sweep_once()
            seen = await ended.after(seen)
            await clock.sleep(_LEFT_ALONE)

    async def _sweep_once(self) -> None:
        now = self._parts.host.clock.wall_ns() / NS
        gone = await asyncio.to_thread(sweep, now, MEMORY)
        if (own := self._gate.shared.memory) is not None:
            gone += await asyncio.to_thread(sweep, now, own)
            gone += await asyncio.to_thread(clear, now, own)
        if gone:
            log.info("removed shared memory that ended programs have left: %d files", len(gone))

    def _worker(self) -> WorkerWorkloads:
        parts, twins = self._parts, self._twins
        sources = WorkerSources(
            config=twins.config,
            twins=twins.rows.uuids,
            workflows=lambda: twins.workflows.workflows,
            gpus=self._engine.has_gpus,
            image_problem=parts.containers.image_problem,
            gpu_problem=lambda: gpu_problem(self._status_of_worker()),
            running=self._running,
            router=self.bus.endpoint,
            waits=lambda: self.room.order.workers or self._gate.link.unreached(LOOPBACK),
            held=lambda: self._disks.held(worker_container(twins.config().environment)),
            barred=twins.directory.barred,
            command=tuple(parts.settings.cyberwave.worker_command),
        )
        places = WorkerPlaces(
            twins.directory.path,
            self._root / "status",
            self._root / "views",
            self._root / "models",
            self._gate.shared.bus,
            parts.secrets_at,
            parts.settings.cyberwave.rest_port,
            parts.settings.cyberwave.mqtt_port,
            platform.system().lower(),
            partial(
                worker_limits,
                parts.settings.cyberwave.worker_memory,
                parts.settings.cyberwave.worker_pids,
                device_memory(),
                controllers(),
            ),
            self._shared_memory(),
        )
        changes = [
            twins.rows.changed,
            twins.directory.changed,
            twins.workflows.changed,
            parts.containers.changed,
            self.bus.told,
            self._disks.changed,
            self._gate.link.changed,
            parts.supervisor.news,
        ]
        return WorkerWorkloads(
            sources, places, self._gate.tokens, parts.usual, changes,
            disk=RealDisk(), clock=parts.host.clock,
        )  # fmt: skip

    def _status_of_worker(self) -> WorkloadStatus | None:
        statuses = self._parts.supervisor.statuses()
        return next((one for one in statuses if one.workload in self.worker.names()), None)

    def _watch_of_worker(self) -> WorkerWatch:
        parts, twins = self._parts, self._twins
        sources = WatchSources(
            workload=self._worker_name,
            twins=twins.rows.uuids,
            statuses=parts.supervisor.statuses,
            groups=parts.groups.statuses,
            lacking=self._lacking,
            status_file=self.worker.status_file,
            prefix=self._gate.prefix,
        )
        bells = [parts.supervisor.news, self.worker.told, parts.named.changed, parts.models.told]
        return WorkerWatch(sources, twins.alerts, self._gate.link, bells, parts.host.clock)

    def _lacking(self, workload: str) -> dict[str, str]:
        parts = self._parts
        groups = (one for one in parts.groups.statuses() if one.status.workload == workload)
        refused = next((one.refused for one in groups), {})
        return {**refused, **parts.named.lacking(workload), **parts.models.lacking(workload)}

    def _worker_name(self) -> str:
        return worker_container(self._twins.config().environment) if self.worker.wanted() else ""

    def _running(self) -> Mapping[str, Assignment]:
        return running_of(self._parts.instances.load(), self._parts.host.clock.boot_id())

    async def _listen(self) -> None:
        """The gate is there for the containers of a network as soon as a driver needs that."""
        told: list[str] | None = None
        seen = 0
        while True:
            hosts = sorted(self.drivers.hosts())
            # An agent before this one may have told it of addresses that nobody needs any more.
            if hosts != told and (hosts or self._gate.link.session):
                failed = await self._gate.link.listen(hosts)
                if failed:
                    raise Transient(f"the gate cannot listen for containers: {'; '.join(failed)}")
                told = hosts
            seen = await self.drivers.looked.after(seen)
