"""The drivers of this device, put together: what is wanted, what becomes of it, what people hear, and their restart."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.tasks import Loops
from skerry.node.drivers.device import Device, Served
from skerry.node.drivers.disk_watch import DiskWatch
from skerry.node.drivers.health import BootstrapHealth
from skerry.node.drivers.launches import Launches
from skerry.node.drivers.log_owners import LogOwners
from skerry.node.drivers.log_topic import LogTopic, Tails
from skerry.node.drivers.order import OrderSources, StartOrder
from skerry.node.drivers.restarting import Deeds, EdgeCoreRestart, Part
from skerry.node.drivers.telling import Teller
from skerry.node.drivers.views import Views
from skerry.node.drivers.wanted import DriverWorkloads, Sources
from skerry.node.drivers.watching import Around, DriverWatch, Statuses
from skerry.node.ports import Launch
from skerry.node.store.driver_marks import DriverStore
from skerry.node.twin_ports import Alerts, Publish, Tokens
from skerry.wire.workload import Assignment


class DriverParts(msgspec.Struct, frozen=True):
    """What drivers are served with.

    `served` are the twins of this device with their assets, `device` is the device as it is now; `changes` ring when one
    of the two may be another. `usual` makes the launch of any workload, `secrets_at` says where files of an instance lie
    that only memory holds. `gateway` is the address of this node in a network of the engine; it raises Refused where there
    is none, Transient; `reach` is told these addresses before anything is wanted that uses them, `unreached` says why
    nobody is sent to one of them yet; empty: they may be. `running` are the
    assignments of the workloads as they were started. `barred` says why no driver may be started; empty: they may.
    `router` is the Zenoh router that is wanted. `beside` is restarted together with the drivers: ended before them,
    started after them. `disks` ends who fills one. `said` publishes the device's signs of life, `publish` all else; `tails` are the drivers' logs, `owners` whose they are.
    """

    served: Callable[[], Sequence[Served]]
    device: Callable[[], Device]
    changes: Sequence[Bell]
    sync_files: Callable[[], Awaitable[object]]
    clear_files: Callable[[], Awaitable[object]]
    exchange: Callable[[float], Awaitable[object]]
    usual: Callable[[Assignment, str], Launch]
    secrets_at: Callable[[str, str], Path]
    gateway: Callable[[str], Awaitable[str]]
    reach: Callable[[Collection[str]], object]
    unreached: Callable[[str], str]
    running: Callable[[], Mapping[str, Assignment]]
    barred: Callable[[], str]
    router: Callable[[], Assignment | None]
    tokens: Tokens
    said: Publish
    publish: Publish
    tails: Tails
    owners: LogOwners
    alerts: Alerts
    statuses: Statuses
    store: DriverStore
    clock: Clock
    disk: Disk
    disks: DiskWatch
    chance: random.Random
    beside: Sequence[Part] = ()


class DriverRoom:
    """`restore` comes before anything is started, then `follow`. `workloads` are what is wanted."""

    def __init__(self, parts: DriverParts) -> None:
        self._parts = parts
        clock, chance, device = parts.clock, parts.chance, parts.device
        self.teller = Teller(parts.alerts, clock, chance)
        around = Around(parts.statuses, parts.served, device)
        self.watch = DriverWatch(around, parts.store, self.teller, clock, chance)
        self.health = BootstrapHealth(
            parts.said, parts.served, device, self.watch.up, self.watch.running, clock
        )
        self.logs = LogTopic(parts.tails, parts.publish, device, clock, parts.owners.since)
        views = Views(device().views, device().directory, device().bus, parts.disk)
        launches = Launches(parts.usual, parts.tokens, views, parts.secrets_at, parts.owners.take)
        self.order = StartOrder(self._order_sources(), clock)
        changes = [*parts.changes, self.watch.changed, self.order.told, parts.disks.changed]
        self.workloads = DriverWorkloads(self._sources(), launches, changes, clock)
        deeds = Deeds(
            parts.sync_files,
            parts.clear_files,
            parts.exchange,
            lambda: [twin.uuid for twin in parts.served()],
            self._again,
        )
        self.restart = EdgeCoreRestart(
            [self.workloads, *parts.beside],
            deeds,
            parts.statuses,
            parts.alerts,
            parts.store,
            clock,
            chance,
        )

    async def restore(self) -> None:
        """Takes up what the agent before this one knew. Raises Transient."""
        self.watch.restore()
        await self.restart.restore()
        await self.workloads.restore()

    async def start_driver(self, twin: str) -> str:
        """As `twin_ports.DriverStarts`."""
        known = self.watch.marks().get(twin)
        held = known is not None and known.since is not None
        if held:
            self.workloads.refresh(twin)
        await self.watch.clear(twin)
        released = self._parts.disks.release_twin(twin)
        if held:
            return "its mark is taken away, and it is started"
        if released:
            return "it was stopped for what it holds on the disk, and is started"
        return "it was not flapping: it goes on"

    def follow(self, loops: Loops) -> None:
        """Starts them."""
        parts = self._parts
        loops.start(self.workloads.follow, name="drivers that are wanted")
        loops.start(partial(self.watch.run, self.workloads), name="watch over drivers")
        loops.start(self.teller.run, name="alerts of drivers")
        loops.start(partial(self.logs.run, self.workloads), name="logs of drivers")
        loops.start(self.health.run, name="signs of life before drivers")
        bells = [parts.statuses.news, self.health.told, self.workloads.looked, *parts.changes]
        loops.start(partial(self.order.run, bells), name="order of starts")
        loops.start(self.restart.run, name="restart of drivers")

    def _sources(self) -> Sources:
        parts = self._parts
        return Sources(
            parts.served,
            parts.device,
            parts.sync_files,
            lambda twin: parts.device().directory / f"{twin}.json",
            parts.gateway,
            parts.reach,
            parts.running,
            parts.barred,
            lambda one: self.watch.held(one) or parts.disks.held(one.workload),
            lambda: self.order.drivers,
            lambda: self.order.problem,
            parts.unreached,
        )

    def _order_sources(self) -> OrderSources:
        parts = self._parts
        return OrderSources(
            parts.served,
            self.health.holds,
            parts.router,
            self._drivers,
            lambda one: self.watch.held(one) or parts.disks.held(one.workload),
            parts.running,
            parts.statuses,
        )

    def _drivers(self) -> Sequence[Assignment]:
        return self.workloads.wanted()

    async def _again(self) -> None:
        await self.watch.clear_all()
        self.health.again()
        self.order.begin()
