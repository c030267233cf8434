"""The composition root of a node: builds everything, runs the loops, and is its table of contents.

    store, records        what is wanted, what is, what was published: opened first, closed last
    runtime, supervisor   the keeper's processes, kept as they are wanted; needs no hub
    local API             admin socket, one socket per workload, read-only port
    sync                  pulls wishes, pushes statuses and records, when there is a hub

SIGTERM and Ctrl-C end the agent and leave the workloads running; `skerry node stop --workloads` ends them too.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial

import msgspec

from skerry import __version__
from skerry.core.stream_rules import Rules
from skerry.kit.clock import BUILD_TIME_NS, Clock
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.service_manager import prove_life
from skerry.kit.stopping import first_of, stop_signals
from skerry.kit.tasks import Guard, Tasks, supervised
from skerry.node.api.sites import LocalApi
from skerry.node.contracts.native import NativeContract
from skerry.node.cyberwave.wiring import CyberwaveOnDemand, CyberwaveParts
from skerry.node.data.publish import Publisher, clock_quality
from skerry.node.data.query import RecordQuery
from skerry.node.data.retention import Retention
from skerry.node.data.subscribe import Subscriptions
from skerry.node.desired_state import LocalWishes, StoredDesired, StoredStatuses
from skerry.node.device_workloads import DeviceBook
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.host import Host
from skerry.node.hub_addresses import account_of
from skerry.node.hub_way import HubWay, Sessions, build_renewal, build_way, open_sessions
from skerry.node.identity import Identity, keep_identity, read_identity, with_secret
from skerry.node.keys import build_rotation, open_keys
from skerry.node.limiting import build_limits
from skerry.node.limits.storage_watch import Quotas
from skerry.node.node_settings import NodeSettings
from skerry.node.on_demand import (
    ExecutionsOnDemand,
    SshOnDemand,
    access_on_demand,
    carrying_on_demand,
    containers_on_demand,
    files_on_demand,
    models_on_demand,
    script_models,
    shared_on_demand,
)
from skerry.node.retirement import Ended
from skerry.node.safekeeping import build_safekeeping, recover_from_backups
from skerry.node.secret_wiring import NodeSecrets, build_secrets
from skerry.node.services import Endpoints, Node, Sweeps
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore, opened
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.record_jobs import Limits
from skerry.node.store.records import RecordStore
from skerry.node.store.workers import WorkerStore
from skerry.node.sweeping import sweep
from skerry.node.sync.feeds import MAX_BYTES
from skerry.node.sync.pace import Pace
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.sync import Stores, Sync, connect
from skerry.node.witnessing import build_audit
from skerry.node.workload_desk import SeenValues, WorkloadDesk
from skerry.node.workloads.executor import Tools
from skerry.node.workloads.http_status import http_status
from skerry.node.workloads.log_ageing import LogAgeing
from skerry.node.workloads.log_shipping import LogShipping
from skerry.node.workloads.logs import LogFiles
from skerry.node.workloads.needs import AllNeeds
from skerry.node.workloads.readiness import Prober
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.lazy_containers import LazyContainers
from skerry.node.workloads.runtimes.owner import owner_mark
from skerry.node.workloads.runtimes.process import ProcessRuntime
from skerry.node.workloads.runtimes.router import Runtimes
from skerry.node.workloads.supervise import Supervisor
from skerry.node.workloads.workers.groups import WorkerGroups
from skerry.node.workloads.workers.scripts import models_named
from skerry.wire.local import LaneCounters
from skerry.wire.records import ClockQuality
from skerry.wire.sync import LANES

log = logging.getLogger(__name__)

MEND_EVERY = 5.0
"""Seconds for which a removed socket stays away: a person tidying up in run/ finds the node again."""

SKEW_THAT_IS_SUSPECT = 60.0


class Finished(msgspec.Struct, frozen=True):
    """Why the agent has ended, and what the next one opens its keys with."""

    how: Ended
    kek: bytes

    def __repr__(self) -> str:
        return f"Finished({self.how})"


async def run(
    settings: NodeSettings,
    host: Host,
    *,
    suspect: str = "",
    kek: bytes = b"",
    retiring: bool = False,
) -> Finished:
    """Runs the node until it is told to stop. The service manager is told when the admin socket answers.

    `retiring`: only until what runs here has ended, and without its hub. `suspect` says why the database is not to be trusted; `kek` is what the agent before this one opened its keys with. Raises Refused (another process has the directory),
    StateTooNew, InvalidInput, and StoreDamaged when the node must begin anew.
    """
    stop = stop_signals()
    identity = read_identity(settings.data_dir)
    node_id = identity.node_id if identity else ""
    keys = partial(open_keys, settings, host.disk, host.clock, kek)
    recover = partial(recover_from_backups, settings, host.disk)
    async with (
        opened(
            settings.data_dir,
            node_id,
            host.clock,
            host.disk,
            keys,
            database=settings.storage.path,
            recover=recover,
            suspect=suspect,
        ) as store,
        _records(settings, host, store.encryption.cipher("records")) as records,
        open_sessions(settings, identity, store.cipher, host) as sessions,
        supervised() as tasks,
    ):
        node = _build(settings, identity, host, store, records, sessions)
        await node.audit.starts(__version__, str(store.rebuilt or ""))
        node.files.follow(tasks)
        await node.api.start(node.apps, settings.api.port)
        await node.restore()
        node.desired.follow(tasks)
        node.sync.known_as(node.cyberwave.fingerprint)
        _ = tasks.start(node.secrets.introduce(node.cyberwave.fingerprint), name="introduction")
        _follow_parts(node, tasks)
        node.follow_hub(tasks, retiring=retiring)
        sweep(node, host, tasks)
        tasks.forever(_mend(node, host), name="sockets")
        _ = tasks.start(prove_life(host.manager, host.clock, node.lives), name="watchdog")
        damaged = node.safekeeping.watch
        await first_of(stop, node.departure.stopped, damaged.found)
        log.info("the node stops")
        if not damaged.found.is_set() and node.departure.how != "restart":
            host.manager.stops()
        await node.api.stop()
        await node.cyberwave.close()
        await node.audit.stops()
        tasks.cancel()
    await node.runtime.close()
    if damaged.damage is not None and not stop.is_set() and not node.departure.stopped.is_set():
        damaged.damage.kek = store.encryption.kek
        raise damaged.damage
    return Finished("stopped" if stop.is_set() else node.departure.how, store.encryption.kek)


def _follow_parts(node: Node, tasks: Tasks) -> None:
    tasks.forever(node.supervisor.run(), name="workloads")
    tasks.forever(node.groups.run(), name="worker groups")
    tasks.forever(node.named.run(), name="models that scripts name")
    node.limits.follow(tasks)
    node.keys.follow(tasks)
    node.safekeeping.follow(tasks)
    tasks.forever(node.ssh_trust.run(), name="SSH")
    node.cyberwave.follow(tasks)


def _build(
    settings: NodeSettings,
    identity: Identity | None,
    host: Host,
    store: OpenedStore,
    records: RecordStore,
    sessions: Sessions,
) -> Node:
    clock, name = host.clock, identity.name if identity else settings.name
    logs = LogFiles(settings.data_dir / "logs", clock)
    enrolled = with_secret(settings.data_dir, identity, store.cipher, host.disk)
    keep = partial(keep_identity, settings.data_dir, host.disk)
    account = None if settings.stays_alone else account_of(settings.hub.url, enrolled, keep)
    events = OwnEvents(records, clock, lambda: _quality(sync, clock))  # sync tells events, too
    way = build_way(settings, account, sessions, store.state, clock, events.tell)
    sync = _sync(settings, way, host, Stores(store.state, records), logs, events)
    renewal, quality = build_renewal(way, sync, host), partial(_quality, sync, clock)
    instances = InstanceStore(store.writer, store.reader, store.cipher, store.started)
    api, seen, get = _local_api(settings), SeenValues(clock), partial(http_status, sessions.world)
    named, owner = script_models(way, host, store.state, sync), owner_mark(settings.data_dir, host.disk, host.chance)  # fmt: skip
    isolation, quotas = Isolation(owner, settings.data_dir, settings.isolation.range), Quotas()
    secrets = build_secrets(settings, identity, host, store, instances, owner=owner)
    book = DeviceBook(_contract(settings, name, secrets).launch_for)
    models = models_on_demand(settings, way, host, instances, sync)
    containers = containers_on_demand(settings, host, owner, events, secrets.values)
    desired, groups = _wishes(store, instances, Endpoints(api, instances, seen), sync, [named, models, containers], host, book=book)  # fmt: skip
    runtime = _runtimes(settings, host, isolation, containers, secrets)
    supervisor = Supervisor(
        Tools(instances, runtime, book.launch_for, clock, host.chance, host.disk),
        desired, StoredStatuses(store.state, desired.foreground, book), AllNeeds([secrets.values, containers, models, groups, named, quotas]),
        Prober(get, seen, book.launch_for, runtime.execute, containers, clock), settings.runtime.max_memory_usage,
    )  # fmt: skip
    shipping = LogShipping(desired.shipped_logs, logs.path, records, store.state, clock, quality)
    files = files_on_demand(settings, way, host, store, records, sync=sync, events=events)
    limits = build_limits(
        settings, clock, host.disk, host.chance, events=events, records=records, backed_up=sync.backed_up,
        models=models, files=files, quotas=quotas, workloads=supervisor, sent=shipping.is_sent,
        keeper_pid=lambda: runtime.keeper_pid,
    )  # fmt: skip
    retention = Retention(records, clock, sync.backed_up, Rules.of(settings.retention.streams), events)  # fmt: skip
    shared = shared_on_demand(settings, way, host, store, sync=sync, events=events)
    desk = _desk(name, records, Publisher(records, clock, quality), files, shared, seen=seen, desired=desired, supervisor=supervisor)  # fmt: skip
    audit = build_audit(settings, way, store, sync, events, host)
    parts = CyberwaveParts(
        settings=settings, host=host, owner=owner, quality=quality, opened=store, records=records, files=files, shared=shared, logs=logs, instances=instances,
        containers=containers, supervisor=supervisor, groups=groups, named=named, models=models, events=events, sync=sync, usual=book.usual, secrets_at=secrets.files.directory, sockets=runtime.sockets,
    )  # fmt: skip
    access_on_demand(settings, way, audit)
    return Node(
        settings=settings, identity=identity, store=store, records=records, runtime=runtime, isolation=isolation,
        containers=containers, models=models, files=files, groups=groups, named=named, supervisor=supervisor,
        desired=desired, sync=sync, api=api, query=RecordQuery(records, name), logs=logs, workload_desk=desk,
        sweeps=Sweeps(retention, LogAgeing(logs.path, desired.log_ages, instances.living, containers.has_log, clock), shipping),
        limits=limits, keys=build_rotation(store, records, files, host, settings, renewal),
        carrying=carrying_on_demand(enrolled, store, records, files, sync, clock), host=host,
        shared=shared, secrets=secrets, audit=audit, ssh_trust=SshOnDemand(settings, way, host, sync),
        executions=ExecutionsOnDemand(way, instances, book.launch_for, runtime, audit),
        safekeeping=build_safekeeping(settings, identity, store, host, events=events, storage=limits.storage),
        cyberwave=CyberwaveOnDemand(parts, book),
    )  # fmt: skip


def _contract(settings: NodeSettings, name: str, secrets: NodeSecrets) -> NativeContract:
    return NativeContract(
        settings.data_dir,
        settings.run_dir,
        name,
        sys.executable,
        secrets.values,
        secrets.files.directory,
    )


def _local_api(settings: NodeSettings) -> LocalApi:
    return LocalApi(settings.run_dir, others=settings.access.local.directory)


def _desk(
    name: str,
    records: RecordStore,
    publisher: Publisher,
    files: FilesOnDemand,
    shared: SharedOnDemand,
    *,
    seen: SeenValues,
    desired: StoredDesired,
    supervisor: Supervisor,
) -> WorkloadDesk:
    return WorkloadDesk(
        name,
        publisher,
        files,
        Subscriptions(records, name),
        RecordQuery(records, name),
        seen=seen,
        streams_of=desired.streams_of,
        order_lock=supervisor.order_lock,
        open_entities=shared.entities,
    )


def _runtimes(
    settings: NodeSettings,
    host: Host,
    isolation: Isolation,
    containers: LazyContainers,
    secrets: NodeSecrets,
) -> Runtimes:
    processes = ProcessRuntime(settings.run_dir, host.clock, host.chance, isolation)
    runtime = Runtimes(processes, containers, settings.data_dir, secrets.files)
    secrets.renewal.mask = runtime.mask
    return runtime


def _wishes(
    store: OpenedStore,
    instances: InstanceStore,
    endpoints: Endpoints,
    sync: Sync,
    others: Sequence[LocalWishes],
    host: Host,
    *,
    book: DeviceBook,
) -> tuple[StoredDesired, WorkerGroups]:
    """What the hub wants and what is wanted at the device."""
    rows = WorkerStore(store.writer, store.reader, store.cipher)
    groups = WorkerGroups(rows, instances, models_named, host.clock, host.chance)
    link = sync.reachability
    desired = StoredDesired(
        store.state, link, host.clock, endpoints.prepare, [groups, *others], book
    )  # groups say what scripts name, models among the others add it and take out what cannot be had
    return desired, groups


def _sync(
    settings: NodeSettings,
    way: HubWay,
    host: Host,
    stores: Stores,
    logs: LogFiles,
    events: OwnEvents,
) -> Sync:
    account, turns = way.account, way.turns
    if account is None:
        alone = Reachability(stores.state, host.clock, None, by_choice=settings.stays_alone)
        return Sync(stores, alone, None, host.clock, host.chance, turns)
    hubs = account.addresses
    counts = {lane: LaneCounters() for lane in LANES}
    reachability = Reachability(stores.state, host.clock, lambda: hubs.current)
    connection = connect(
        way.uplink(account, counts=counts), stores, reachability, logs, host.clock, host.chance,
        pace=Pace.of(settings.sync), most=min(MAX_BYTES, turns.piece) if turns else MAX_BYTES,
        counts=counts, tell=events.tell, trust=way.credentials, services=way.services,
    )  # fmt: skip
    return Sync(stores, reachability, connection, host.clock, host.chance, turns)


@contextlib.asynccontextmanager
async def _records(
    settings: NodeSettings, host: Host, cipher: Cipher
) -> AsyncIterator[RecordStore]:
    limits = Limits(
        keep=settings.records.keep_limit,
        sample=settings.records.sample_limit,
        storage=settings.runtime.max_storage_usage,
    )
    records = RecordStore(
        settings.data_dir / "records",
        disk=host.disk,
        clock=host.clock,
        cipher=cipher,
        limits=limits,
    )
    await records.start()
    try:
        yield records
    finally:
        await records.stop()


async def _mend(node: Node, host: Host) -> None:
    guard = Guard("opening sockets again", host.clock, host.chance)
    while True:
        await host.clock.sleep(MEND_EVERY)
        await guard.run(node.api.mend)


def _quality(sync: Sync, clock: Clock) -> ClockQuality:
    skew = sync.clock_skew
    if skew is not None and abs(skew) > SKEW_THAT_IS_SUSPECT:
        return "suspect"
    return clock_quality(clock.wall_ns(), floor_ns=BUILD_TIME_NS, synchronised=skew is not None)
