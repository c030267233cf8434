"""What the local API answers a person at the device: the features' results put together for the admin socket.

`workload_desk` answers workloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry import __version__
from skerry.core.local_access import LocalAccess
from skerry.core.names import CONSOLE
from skerry.kit.own_hosts import own_hosts
from skerry.kit.tasks import Tasks
from skerry.node.api.admin import admin_app, public_app
from skerry.node.api.guard import AdminGuard, of_strangers
from skerry.node.api.sites import Apps, LocalApi
from skerry.node.api.workload import RowStream, workload_app
from skerry.node.audit.desk import AuditDesk
from skerry.node.cyberwave.wiring import CyberwaveOnDemand
from skerry.node.data.query import RecordQuery
from skerry.node.data.retention import Retention
from skerry.node.departure import LAST_WORDS, Departure
from skerry.node.desired_state import StoredDesired
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.foreground_desk import ForegroundDesk, Tell
from skerry.node.host import Host
from skerry.node.identity import SECRET_FILE, Identity
from skerry.node.keys import KeyRotation
from skerry.node.limiting import NodeLimits
from skerry.node.models.named import ScriptModels
from skerry.node.models.on_demand import ModelsOnDemand
from skerry.node.node_settings import NodeSettings
from skerry.node.on_demand import ExecutionsOnDemand, SshOnDemand
from skerry.node.orders import Orders
from skerry.node.ports import LogSource, OutOfService
from skerry.node.safekeeping import Safekeeping
from skerry.node.secret_wiring import NodeSecrets
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore, integrity_problem
from skerry.node.store.records import RecordStore
from skerry.node.sync.sync import Sync
from skerry.node.workload_desk import SeenValues, WorkloadDesk
from skerry.node.workloads.locks import LockOrder
from skerry.node.workloads.log_ageing import LogAgeing
from skerry.node.workloads.log_shipping import LogShipping
from skerry.node.workloads.runtimes.engine_look import EngineLook, look_for_engine
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.node.workloads.supervise import Supervisor
from skerry.node.workloads.workers.groups import WorkerGroups
from skerry.wire.cyberwave import DriverOrdered
from skerry.wire.local import (
    Doctor,
    Held,
    ImageLoad,
    ImagesLoaded,
    KeyStatus,
    NewPassphrase,
    NodeStatus,
    StopRequest,
    SyncStatus,
    WorkerOrder,
    WorkerStatus,
)
from skerry.wire.models import ModelCache
from skerry.wire.records import Publish, Published
from skerry.wire.workload import Assignment, WorkloadSpec

if TYPE_CHECKING:
    from skerry.core.audit_entries import Deed
    from skerry.node.channel_port import ServedChannel
    from skerry.node.health.facts import Facts
    from skerry.node.sync.carrying import Carrying
    from skerry.wire.executions import Wish
    from skerry.wire.rounds import SyncLogPage, SyncRound
    from skerry.wire.stick import ReceiptTaken
    from skerry.wire.storage import StorageReport


class Endpoints:
    """A socket for each workload: one that starts finds it, one that is being ended keeps it until it is gone."""

    def __init__(self, api: LocalApi, instances: InstanceStore, seen: SeenValues) -> None:
        self._api = api
        self._instances = instances
        self._seen = seen

    async def prepare(self, wanted: Sequence[Assignment]) -> None:
        """Opens and closes sockets so that they fit."""
        there = [*wanted, *(one.assignment for one in self._instances.load().values())]
        containers = {one.workload for one in there if one.spec.container is not None}
        processes = {one.workload for one in there if one.spec.container is None}
        await self._api.serve_workloads(processes, containers)
        self._seen.keep_only(processes | containers)


class Sweeps(msgspec.Struct, frozen=True):
    """Bounded work that `agent` does again and again."""

    retention: Retention
    ageing: LogAgeing
    shipping: LogShipping


class Node:
    """The built parts of a node, and what a person at the device may ask of them (`api.admin.AdminServices`)."""

    def __init__(  # noqa: PLR0913 - the result of a composition root
        self,
        *,
        settings: NodeSettings,
        identity: Identity | None,
        store: OpenedStore,
        records: RecordStore,
        runtime: Runtimes,
        isolation: Isolation,
        containers: LazyContainers,
        models: ModelsOnDemand,
        files: FilesOnDemand,
        groups: WorkerGroups,
        named: ScriptModels,
        supervisor: Supervisor,
        desired: StoredDesired,
        sync: Sync,
        api: LocalApi,
        query: RecordQuery,
        logs: LogSource,
        workload_desk: WorkloadDesk,
        sweeps: Sweeps,
        limits: NodeLimits,
        keys: KeyRotation,
        carrying: Callable[[], Carrying],
        shared: SharedOnDemand,
        ssh_trust: SshOnDemand,
        secrets: NodeSecrets,
        host: Host,
        safekeeping: Safekeeping,
        audit: AuditDesk,
        executions: ExecutionsOnDemand,
        cyberwave: CyberwaveOnDemand,
    ) -> None:
        self.settings = settings
        self.identity = identity
        self.store = store
        self.runtime = runtime
        self.containers = containers
        self._models = models
        self.files = files
        self.groups = groups
        self.named = named
        self.supervisor, self.desired = supervisor, desired
        self.sync, self.api = sync, api
        self.data = query
        self.logs = logs
        self.sweeps = sweeps
        self.limits = limits
        self.keys, self._carrying = keys, carrying
        self.shared, self.ssh_trust, self.secrets = shared, ssh_trust, secrets
        self.safekeeping, self.audit, self._executions = safekeeping, audit, executions
        self.cyberwave = cyberwave
        self.departure = Departure(
            settings, identity, host, desired=desired, supervisor=supervisor, runtime=runtime, sync=sync, files=files, audit=audit
        )  # fmt: skip
        self._desk, self.records = workload_desk, records
        self.apps = self._apps()
        self._host, self._isolation = host, isolation
        self._started_at = host.clock.wall_ns()

    async def lives(self) -> None:
        """Returns when the threads that write have answered; the event loop answers by getting here."""
        await asyncio.gather(self.store.writer.pulse(), self.records.pulse())

    def _apps(self) -> Apps:
        public = public_app(self, own_hosts(platform.node()))
        guard = AdminGuard(self.audit, LocalAccess(os.geteuid(), self.settings.access.local.given))
        workload = workload_app(self._desk, [of_strangers(self.audit)])
        return Apps(admin_app(self, guard), workload, public)

    async def restore(self) -> None:
        """Takes up what the agent before this one has learnt."""
        await self.named.restore()
        await self.shared.restore()
        await self.secrets.values.restore()
        await self.cyberwave.open()

    def follow_hub(self, tasks: Tasks, *, retiring: bool) -> None:
        """Syncs with the hub and does what it orders, for as long as the tasks run; `retiring`: ends what runs instead."""
        if retiring:
            _ = tasks.start(self.departure.retire(), name="end of what runs")
            return
        if self.sync.connection is not None:
            self.sync.connection.link.out_of_service = self._out_of_service
        orders = Orders(
            self.store.state, self.departure, self.audit, self._host, self.cyberwave.orders
        )
        tasks.forever(orders.run(tasks), name="orders of the hub")
        tasks.forever(self.sync.run(), name="sync")

    async def _out_of_service(self, error: OutOfService) -> bool:
        if not await self.departure.told_to_retire(error):
            return False
        await self.departure.retire()
        return True

    async def status(self) -> NodeStatus:
        from skerry.node.health.checks import problems  # noqa: PLC0415 - only when somebody asks

        identity = self.identity
        return NodeStatus(
            id=identity.node_id if identity else "",
            name=identity.name if identity else self.settings.name,
            labels=identity.labels if identity else self.settings.labels,
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            data_dir=str(self.settings.data_dir),
            keeper_pid=self.runtime.keeper_pid,
            link=self.sync.reachability.status,
            workloads=self.supervisor.statuses(),
            problems=problems(await self._facts(deep=False)),
            memory=self.limits.memory_usage,
            storage=self.limits.storage_usage,
            backups=await self.safekeeping.status(),
            cyberwave=await self.cyberwave.status(self.sync.reachability.status),
        )

    async def sync_status(self) -> SyncStatus:
        status = await self.sync.status()
        return msgspec.structs.replace(status, files=self.files.waiting())

    async def sync_now(self, seconds: float) -> SyncRound:
        from skerry.node.sync.on_request import sync_now  # noqa: PLC0415 - only when somebody asks

        return await sync_now(self.sync, self._host.clock, seconds)

    async def sync_log(self, limit: int) -> SyncLogPage:
        from skerry.node.sync.on_request import log_page  # noqa: PLC0415 - as above

        return await asyncio.to_thread(log_page, self.store.state.log, limit)

    async def doctor(self) -> Doctor:
        from skerry.node.health.checks import examine  # noqa: PLC0415 - as above

        return Doctor(examine(await self._facts(deep=True)))

    async def security(self) -> Doctor:
        from skerry.node.security_view import security_report  # noqa: PLC0415 - as above

        return Doctor(await security_report(self))

    async def storage(self) -> StorageReport:
        from skerry.node.storage_view import storage_report  # noqa: PLC0415 - only when somebody asks

        return await storage_report(self, self._host.clock.wall_ns())

    async def load_images(self, request: ImageLoad) -> ImagesLoaded:
        return ImagesLoaded(await self.containers.load_image(Path(request.path)))

    async def models(self) -> ModelCache:
        return await self._models.cache()

    def key_status(self) -> KeyStatus:
        return self.keys.status()

    def rotate_keys(self) -> KeyStatus:
        return self.keys.rotate()

    async def change_passphrase(self, wish: NewPassphrase) -> KeyStatus:
        return await self.keys.change_passphrase(wish.passphrase)

    async def run(self, spec: WorkloadSpec, tell: Tell) -> None:
        desk = ForegroundDesk(self.desired.foreground, self.supervisor, self.logs, self._host.clock)
        await desk.run(spec, tell)

    async def execute(self, channel: ServedChannel, workload: str, wish: Wish, deed: Deed) -> None:
        await self._executions.room().run(channel, workload, wish, deed)

    async def publish(self, request: Publish) -> Published:
        return await self._desk.publish(CONSOLE, request)

    def subscribe(self, name: str, kind: str | None, cursor: str | None) -> RowStream:
        return self._desk.subscribe(name, kind, cursor)

    async def unlock(self, workload: str) -> Held:
        return Held((await self.supervisor.order_lock(workload, LockOrder(None))).locked_until)

    async def start_driver(self, twin: str) -> DriverOrdered:
        return DriverOrdered(twin, await self.cyberwave.start_driver(twin))

    async def export(self, room: int, part: int) -> AsyncIterator[bytes]:
        return self._carrying().export(room, part)

    async def take_receipt(self, data: bytes) -> ReceiptTaken:
        return await self._carrying().take_receipt(data)

    def worker_groups(self) -> list[WorkerStatus]:
        return self.groups.statuses()

    async def order_worker(self, workload: str, order: WorkerOrder) -> None:
        await self.groups.order(workload, order.order, order.by)

    async def stop(self, request: StopRequest) -> None:
        if request.workloads:
            await self.departure.end_all()
            await self.runtime.shut_down()
            with contextlib.suppress(TimeoutError):  # the rest is on the disk
                async with asyncio.timeout(LAST_WORDS):
                    await self.supervisor.all_reported()
                    await self.sync.settled()
        self.departure.stopped.set()

    async def _facts(self, *, deep: bool) -> Facts:
        from skerry.node.health.facts import Facts  # noqa: PLC0415 - as above

        directory = self.settings.data_dir
        store = partial(integrity_problem, self.store.path, self.store.encryption.cipher("store"))
        problem = await asyncio.to_thread(store) if deep else ""
        means = await asyncio.to_thread(self._isolation.means.inventory) if deep else None
        look = await look_for_engine(self.settings.engine_sockets) if deep else EngineLook()
        damaged = [*self.records.damaged_files(), *directory.glob("*.damaged")]
        return Facts(
            data_dir=str(directory),
            data_dir_mode=directory.stat().st_mode & 0o777,
            free_bytes=self._host.disk.free_bytes(directory),
            store_problem=problem,
            damaged_files=tuple(str(path.relative_to(directory)) for path in damaged),
            keeper_pid=self.runtime.keeper_pid,
            workloads=tuple(self.supervisor.statuses()),
            sync=await self.sync.status(),
            offline_seconds=self.desired.offline_for() or 0.0,
            clock_skew=self.sync.clock_skew,
            open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            secret_mode=_mode(directory / SECRET_FILE) if self.identity else None,
            public_port=self.api.public_port,
            wanted_port=self.settings.api.port,
            isolation=None if means is None else means.words,
            no_strict="" if means is None else means.missing,
            engine=look.words,
            no_engine=look.missing or self.containers.problem,
            containers=self.containers.wanted,
            no_broker=self.cyberwave.no_broker,
            memory=self.limits.memory_usage,
            storage=self.limits.storage_usage,
            keys=self.keys.status(),
            backups=await self.safekeeping.status(),
            certificate=self.keys.certificate(),
            now=self._host.clock.wall_ns(),
        )


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777 if path.exists() else 0
