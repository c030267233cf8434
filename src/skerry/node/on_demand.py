"""Rooms of the node that are loaded with the first workload that needs them: most nodes never do, and memory counts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.pace import Pace
from skerry.node.access.set_up import SET_UP_SEEN_EVERY, is_set_up, read_set_up
from skerry.node.files.on_demand import FilesOnDemand
from skerry.node.host import Host
from skerry.node.hub_way import HubWay
from skerry.node.identity import Enrolled
from skerry.node.models.layout import models_root
from skerry.node.models.named import ScriptModels
from skerry.node.models.on_demand import ModelsOnDemand
from skerry.node.node_settings import NodeSettings
from skerry.node.ports import Launch, Room
from skerry.node.secrets.on_demand import SecretsOnDemand
from skerry.node.shared_on_demand import SharedOnDemand
from skerry.node.store.encryption import Encryption
from skerry.node.store.files import FileRows
from skerry.node.store.instances import InstanceStore
from skerry.node.store.opening import OpenedStore
from skerry.node.store.own_events import OwnEvents
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.sync.pace import PARKED
from skerry.node.sync.pace import Pace as SyncPace
from skerry.node.sync.sync import Sync
from skerry.node.workloads.runtimes.lazy_containers import HAD_CONTAINERS, LazyContainers
from skerry.wire.bundles import KIND
from skerry.wire.local import LaneCounters
from skerry.wire.sync import ROW_LANES, Lane
from skerry.wire.workload import Assignment

if TYPE_CHECKING:
    from skerry.kit.blob_bytes import BlobBytes
    from skerry.node.access.executions import Executions
    from skerry.node.audit.desk import AuditDesk
    from skerry.node.channel_port import ChannelService
    from skerry.node.files.room import FileRoom
    from skerry.node.hub_addresses import HubAccount
    from skerry.node.models.fetching import ModelNeeds
    from skerry.node.sync.carrying import Carrying
    from skerry.node.sync.row_lanes import Shared
    from skerry.node.sync.row_lanes import Way as RowWay
    from skerry.node.workloads.runtimes.containers.room import ContainerRoom
    from skerry.node.workloads.runtimes.router import Runtimes
    from skerry.wire.shared import Priority


def models_on_demand(
    settings: NodeSettings, way: HubWay, host: Host, instances: InstanceStore, sync: Sync
) -> ModelsOnDemand:
    """What fetches and keeps the models that workloads need; loaded when there are any."""
    root, limit = models_root(settings.data_dir), settings.models.cache_limit

    def build() -> ModelNeeds:
        # Most nodes have no models: what fetches them takes memory only where there are some.
        from skerry.node.models.download import Download  # noqa: PLC0415
        from skerry.node.models.fetching import ModelNeeds as Needs  # noqa: PLC0415
        from skerry.node.models.origins import HubAccess  # noqa: PLC0415
        from skerry.node.models.store import ModelStore  # noqa: PLC0415

        hub, account = None, way.account
        if account is not None:
            hub = HubAccess(account.addresses, account.authorization)
        pace = Pace(settings.models.max_bandwidth, host.clock)
        return Needs(
            ModelStore(root, limit, host.disk, host.clock),
            Download(
                way.world,
                hub,
                host.disk,
                pace,
                proxies=way.proxies,
                turns=way.turns,
                hub_session=way.session,
            ),
            lambda: (one.assignment for one in instances.load().values()),
            sync.reachability.changed,
            host.clock,
            host.chance,
        )

    return ModelsOnDemand(root, limit, build)


def files_on_demand(  # noqa: PLR0913 - a part of the composition root
    settings: NodeSettings,
    way: HubWay,
    host: Host,
    opened: OpenedStore,
    records: RecordStore,
    *,
    sync: Sync,
    events: OwnEvents,
) -> FilesOnDemand:
    """What keeps the files that workloads upload, and sends them; loaded with the first one."""
    rows, limit = FileRows(opened.writer, opened.reader), settings.files.limit

    async def tell_parked(sha256: str, cause: str) -> None:
        await events.tell(PARKED, f"file {sha256[:12]}…: {cause}", {"file": sha256})

    def build(room: Room) -> FileRoom:
        from skerry.node.files.room import FileRoom, named_in  # noqa: PLC0415 - as above
        from skerry.node.files.sending import FileSending, Parked, Way  # noqa: PLC0415
        from skerry.node.files.store import FileStore, Lane  # noqa: PLC0415

        lane = Lane(
            lambda: records.head("event").n,
            lambda: records.acknowledged("event"),
            lambda: sync.backed_up("event"),
        )
        store = FileStore(
            settings.data_dir, limit, rows, blob_bytes(opened.encryption, host.disk), host.disk, host.clock,
            lane=lane, room=room, tell=events.tell,
        )  # fmt: skip
        sending = None
        if way.account is not None:
            reach = sync.reachability
            sending = FileSending(
                store,
                way.uplink(way.account, "low"),
                Way(lambda: reach.connected, lambda: reach.changed.count),
                Pace(settings.files.max_bandwidth, host.clock),
                host.clock,
                host.chance,
                piece=None if way.turns is None else way.turns.piece,
                parked=Parked(settings.sync.retry.max_attempts, tell_parked),
            )
        return FileRoom(store, sending, partial(named_in, records), host.clock, host.chance)

    return FilesOnDemand(settings.data_dir, rows, limit, build)


def blob_bytes(encryption: Encryption, disk: Disk) -> BlobBytes:
    """How the files of this data directory lie on its disk."""
    if encryption.ring is None:
        from skerry.kit.blob_bytes import PlainBytes  # noqa: PLC0415 - as above

        return PlainBytes(disk)
    from skerry.kit.sealing.blobs import SealedBytes  # noqa: PLC0415
    from skerry.node.files.store import content_at  # noqa: PLC0415

    return SealedBytes(disk, encryption.ring.cipher("files"), content_at)


def shared_on_demand(
    settings: NodeSettings,
    link: HubWay,
    host: Host,
    opened: OpenedStore,
    *,
    sync: Sync,
    events: OwnEvents,
) -> SharedOnDemand:
    """What keeps the rows that this node shares, and syncs them; loaded with the first entity."""

    async def build() -> Shared:
        from skerry.node.store.shared_frames import MAX_FRAME, SharedFrames  # noqa: PLC0415 - as above
        from skerry.node.store.shared_pulled import SharedPulled  # noqa: PLC0415
        from skerry.node.store.shared_rows import SharedRows  # noqa: PLC0415
        from skerry.node.sync.row_lanes import RowLanes, Shared  # noqa: PLC0415
        from skerry.node.sync.row_schedule import RowSchedule  # noqa: PLC0415

        node_id = opened.state.node_id
        rows = SharedRows(
            opened.writer, opened.reader, host.clock, node_id, opened.cipher, settings.sync.entities
        )
        every = {name: each for name, each in settings.sync.schedule.items() if each is not None}
        schedule = RowSchedule(every, host.clock, rows.may_wait) if every else None
        frames = SharedFrames(rows, opened.cipher, opened.state.log, schedule)
        shared = Shared(rows, frames, SharedPulled(rows, opened.state.log))
        way, counts = None, {lane: LaneCounters() for lane in ROW_LANES}
        if link.account is not None:
            way = _row_way(link, link.account, counts)
        most = MAX_FRAME if link.turns is None else min(MAX_FRAME, link.turns.piece)
        lanes = RowLanes(
            shared, opened.state, way, host.clock, host.chance, pace=SyncPace.of(settings.sync),
            most=most, counts=counts, tell=events.tell, schedule=schedule,
        )  # fmt: skip
        await sync.join(lanes)
        return shared

    return SharedOnDemand(opened.state, build)


def _row_way(link: HubWay, account: HubAccount, counts: Mapping[Lane, LaneCounters]) -> RowWay:
    from skerry.node.sync.row_hub import HttpRowHub  # noqa: PLC0415 - as above
    from skerry.node.sync.row_lanes import Way  # noqa: PLC0415

    uplink = link.uplink(account, counts=counts)
    if link.turns is None:
        rows = HttpRowHub(uplink)
        return Way(uplink, rows, together=rows)
    most = link.turns.piece
    classes: tuple[Priority, ...] = ("high", "medium", "low")
    asking = {each: HttpRowHub(link.uplink(account, each), most) for each in classes}
    return Way(uplink, asking["high"], asking)


def carrying_on_demand(
    enrolled: Enrolled | None,
    opened: OpenedStore,
    records: RecordStore,
    files: FilesOnDemand,
    sync: Sync,
    clock: Clock,
) -> Callable[[], Carrying]:
    """What takes data to the hub by hand; loaded with the first export or receipt."""

    @functools.cache
    def build() -> Carrying:
        from skerry.node.files.carried import CarriedFiles  # noqa: PLC0415 - as above
        from skerry.node.sync.carrying import Carrying  # noqa: PLC0415

        carried = CarriedFiles(files, clock)
        return Carrying(enrolled, opened.state, records, carried, sync, clock)

    return build


class SshOnDemand:
    """What sshd of this device knows of the hub; loaded once `skerry node ssh-setup` has run."""

    def __init__(self, settings: NodeSettings, way: HubWay, host: Host, sync: Sync) -> None:
        self._data_dir = settings.data_dir
        self._way = way
        self._host = host
        self._sync = sync

    async def run(self) -> None:
        """Until cancelled."""
        account, connection = self._way.account, self._sync.connection
        if account is None or connection is None:
            await asyncio.get_running_loop().create_future()
            return
        while not is_set_up(self._data_dir):
            await self._host.clock.sleep(SET_UP_SEEN_EVERY)
        from skerry.node.access.ssh_trust import SshTrustKeeper  # noqa: PLC0415 - as above

        reachability = self._sync.reachability
        keeper = SshTrustKeeper(
            self._data_dir,
            partial(self._way.uplink(account).ask, "ssh", what="ask about SSH"),
            lambda: reachability.status.state,
            connection.pull.news,
            self._host,
        )
        await keeper.run()


def access_on_demand(settings: NodeSettings, way: HubWay, audit: AuditDesk) -> None:
    """Serves tunnels and diagnostics bundles on the hub's channels; each is loaded with the first one."""

    def allowed() -> set[int]:
        set_up = read_set_up(settings.data_dir)
        ports = {int(port) for port in settings.access.forward}
        return ports if set_up is None else ports | {set_up.port}

    def tunnel() -> ChannelService:
        from skerry.node.access.tunnel import Tunnels  # noqa: PLC0415 - most nodes serve none

        return Tunnels(allowed, way.held, audit).serve

    def diagnostics() -> ChannelService:
        from skerry.node.access.bundles import (  # noqa: PLC0415 - as above
            Bundles,
            diagnostics_command,
        )

        command = diagnostics_command(settings.data_dir, settings.configs)
        return Bundles(command, way.held, audit).serve

    way.services.update({"tunnel": tunnel, KIND: diagnostics})


class ExecutionsOnDemand:
    """Commands beside workloads, for the hub's channels and the admin socket; loaded with the first one."""

    def __init__(
        self,
        way: HubWay,
        instances: InstanceStore,
        launch_for: Callable[[Assignment, str], Launch],
        runtime: Runtimes,
        audit: AuditDesk,
    ) -> None:
        def build() -> Executions:
            from skerry.node.access.executions import Executions  # noqa: PLC0415 - as above
            from skerry.node.execution_desk import ExecutionDesk  # noqa: PLC0415

            return Executions(ExecutionDesk(instances, launch_for, runtime), audit, way.held)

        self.room = functools.cache(build)
        """One for both, because they share its limits."""
        way.services["exec"] = lambda: self.room().serve


def script_models(way: HubWay, host: Host, facts: NodeStore, sync: Sync) -> ScriptModels:
    """What asks the hub for the models that only scripts name."""
    ask = None
    if way.account is not None:
        ask = way.uplink(way.account, "medium").models
    return ScriptModels(facts, ask, sync.reachability, host.clock, host.chance)


def containers_on_demand(
    settings: NodeSettings,
    host: Host,
    owner: str,
    events: OwnEvents,
    secrets: SecretsOnDemand,
) -> LazyContainers:
    """What runs containers and fetches their images; loaded when there are any."""
    used = settings.data_dir / HAD_CONTAINERS

    def open_room(changed: Bell) -> ContainerRoom:
        from skerry.node.containers import open_room  # noqa: PLC0415 - memory that only some nodes need

        host.disk.write_atomic("containers.used", used, b"")
        return open_room(settings, host, owner, events.tell, changed, secrets)

    return LazyContainers(open_room, known=used.exists())
