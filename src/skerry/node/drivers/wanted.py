"""The drivers as workloads that this device wants by itself: implements `node.twin_ports.DeviceWorkloads`.

What cannot be decided now (the container engine is not there to say how a network reaches the node, the device's
credentials cannot be read) starts nothing and ends nothing: what runs goes on as it was started.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.core.names import name_fault
from skerry.kit.bell import Bell, Rings
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, SkerryError
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.drivers.bridging import Bridges, Run, run_command
from skerry.node.drivers.device import Device, Networks, Served
from skerry.node.drivers.launches import PREFIX, Launches, assignment_of, recipe_of
from skerry.node.drivers.plans import OF_ONE, DriverPlan, Plans, Trouble, planned, trouble_of
from skerry.node.drivers.refreshing import Refreshes
from skerry.node.drivers.views import mode_of
from skerry.node.ports import Launch
from skerry.wire.workload import Assignment

log = logging.getLogger(__name__)

LOOK_AGAIN = 15.0
"""Seconds after which networks are looked up again that are not there, or that nobody could tell of."""


class Sources(msgspec.Struct, frozen=True):
    """Where what is wanted comes from.

    `write_files` brings the twins' files up to date; `files` says where a twin's is, whether or not it is there.
    `gateway` is the address of this node in a network of the engine; it raises Refused where there is none, Transient.
    `reach` is told these addresses before anything is wanted that uses them. `running`: the assignments of this device's
    workloads as they were started, by name. `barred` says why no driver may be started; empty: they may. `held` says why
    a driver is to be down; empty: it is not. `waits` says why none is started yet, `unreached` why none that reaches this
    node at an address, and `problem` what people have to know of all of them; empty: nothing.
    """

    served: Callable[[], Sequence[Served]]
    device: Callable[[], Device]
    write_files: Callable[[], Awaitable[object]]
    file: Callable[[str], Path]
    gateway: Callable[[str], Awaitable[str]]
    reach: Callable[[Collection[str]], object]
    running: Callable[[], Mapping[str, Assignment]]
    barred: Callable[[], str]
    held: Callable[[Assignment], str]
    waits: Callable[[], str] = str
    problem: Callable[[], str] = str
    unreached: Callable[[str], str] = lambda _: ""


class DriverWorkloads:
    """`restore` comes before anything asks, `follow` runs as long as the agent. `looked` rings after every look.

    `changes` are the bells that ring when an answer of `sources` may be another.
    """

    def __init__(
        self,
        sources: Sources,
        launches: Launches,
        changes: Sequence[Bell],
        clock: Clock,
        run: Run = run_command,
    ) -> None:
        self.told = Bell()
        self.looked = Bell()
        self.troubles: Sequence[Trouble] = ()
        self.planned: Collection[str] | None = None
        """The twins that have a driver, whether or not it may be started now; None before the first look."""
        self._sources = sources
        self._launches = launches
        self._changes = changes
        self._clock = clock
        self._networks: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._wanted: Mapping[str, Assignment] = {}
        self._looking = asyncio.Lock()
        self._hold = ""
        self.knows_networks = False
        """Whether `hosts` are all of them: none is among them that could not be looked up yet."""
        self._refreshes = Refreshes(sources.running)
        self._bridges = Bridges(run)

    def wanted(self) -> Sequence[Assignment]:
        return list(self._wanted.values())

    def launch_for(self, assignment: Assignment, instance: str) -> Launch | None:
        if not assignment.workload.startswith(PREFIX) or not assignment.local.recipe:
            return None
        return self._launches.launch_for(assignment, instance)

    def is_local(self, workload: str) -> bool:  # noqa: ARG002 - people at the hub look after drivers
        return False

    def twin_of(self, workload: str) -> str | None:
        """Whose driver it is; None: nobody's."""
        assignment = self._wanted.get(workload)
        return None if assignment is None else recipe_of(assignment).twin

    def refresh(self, twin: str) -> None:
        """The twin's driver is about to be started on purpose: from a newer image, if there is one."""
        self._refreshes.order(name for name in self._wanted if self.twin_of(name) == twin)

    def hosts(self) -> Collection[str]:
        """The addresses of this device at which drivers reach it, besides loopback; until all can be told, those of what runs."""
        hosts = {host for host in self._networks.values() if host}
        if not self.knows_networks:
            hosts |= {recipe_of(one).at or LOOPBACK for one in self._running().values()}
        return hosts - {LOOPBACK}

    async def hold(self, why: str) -> None:
        """All drivers are to be down from now on; an empty `why`: not any more."""
        if why and not self._hold:
            self._refreshes.order_all()
        self._hold = why
        await self.look()

    def names(self) -> Collection[str]:
        """The workloads of the drivers."""
        return self._wanted.keys()

    async def restore(self) -> None:
        """Looks for the first time; what is `running` is not ended by whatever cannot be told yet."""
        await self.look()

    async def follow(self) -> None:
        """Looks whenever anything may have changed, for ever."""
        rings = Rings(self._changes)
        while True:
            rings.note()
            again = await self.look()
            await rings.next(self._clock, LOOK_AGAIN if again else None)

    async def look(self) -> bool:
        """Finds out what is wanted now; True: something is to be looked at again before long."""
        async with self._looking:
            if not self._hold:
                await self._sources.write_files()
            plans = self._planned()
            # One that was made anew has another address.
            networks = plans.networks | self._refused.keys() | self._networks.keys()
            if networks:
                await self._find(networks)
                plans = self._planned()
            plans = await self._bridged(plans)
            plans, wanted = self._assignments(plans)
            self.troubles = self._troubles(plans)
            self.planned = {plan.twin for plan in (*plans.drivers, *plans.undecided)}
            self.knows_networks = not plans.networks
            self._sources.reach(self.hosts())
            if wanted != self._wanted:
                running = self._running()
                for name, one in wanted.items():
                    self._launches.expect(one, running.get(name))
                self._wanted = wanted
                self.told.ring()
            self.looked.ring()
            return bool(plans.networks or self._refused)

    def _planned(self) -> Plans:
        sources = self._sources
        networks = Networks(dict(self._networks), dict(self._refused))
        known = {**self._running(), **self._wanted}
        names = {recipe_of(one).twin: name for name, one in known.items()}
        return planned(sources.served(), sources.device(), networks, names)

    def _troubles(self, plans: Plans) -> Sequence[Trouble]:
        """What is the matter with all drivers is told of those of which nothing else is."""
        if not (problem := self._sources.problem()):
            return plans.troubles
        told = {one.twin for one in plans.troubles}
        own = [plan for plan in plans.drivers if plan.twin not in told]
        return [
            *plans.troubles,
            *(Trouble(plan.twin, "driver_health", problem, plan.name) for plan in own),
        ]

    async def _bridged(self, plans: Plans) -> Plans:
        device, drivers, troubles = self._sources.device(), [], list(plans.troubles)
        for plan in plans.drivers:
            try:
                drivers.append(await self._bridges.bridged(plan, device))
            except OF_ONE as error:
                troubles.append(trouble_of(plan.twin, error, plan.name))
        return Plans(drivers, troubles, plans.undecided)

    async def _find(self, networks: Collection[str]) -> None:
        for name in networks:
            try:
                self._networks[name] = await self._sources.gateway(name)
                self._refused.pop(name, None)
            except Refused as error:
                self._refused[name] = str(error)
                self._networks.pop(name, None)
            except SkerryError as error:
                if name not in self._networks:
                    log.warning("cannot tell how network %s reaches this node: %s", name, error)

    def _assignments(self, plans: Plans) -> tuple[Plans, dict[str, Assignment]]:
        """With the plans of which one could be made."""
        running = self._running()
        if self._sources.barred():
            made = running
        else:
            plans, made = self._made(plans)
            made |= {
                plan.name: running[plan.name] for plan in plans.undecided if plan.name in running
            }
        return plans, {name: self._intended(one) for name, one in sorted(made.items())}

    def _running(self) -> dict[str, Assignment]:
        """Those of drivers."""
        return {
            name: one
            for name, one in self._sources.running().items()
            if name.startswith(PREFIX) and one.local.recipe
        }

    def _made(self, plans: Plans) -> tuple[Plans, dict[str, Assignment]]:
        device, drivers, troubles = self._sources.device(), [], list(plans.troubles)
        made: dict[str, Assignment] = {}
        for plan in plans.drivers:
            try:
                made[plan.name] = self._assignment(plan, device)
            except OF_ONE as error:
                troubles.append(trouble_of(plan.twin, error, plan.name))
            else:
                drivers.append(plan)
        return Plans(drivers, troubles, plans.undecided), made

    def _assignment(self, plan: DriverPlan, device: Device) -> Assignment:
        files = [self._sources.file(uuid) for uuid in (plan.twin, *plan.children)]
        # A link counts: without it the driver would be another one, with it none is started (`Views.check`).
        there = [str(path) for path in files if (mode := mode_of(path)) and not stat.S_ISDIR(mode)]
        assignment = assignment_of(plan, device, there)
        assert name_fault(plan.name) is None  # noqa: S101 - a part of a UUID always is one
        return assignment

    def _intended(self, assignment: Assignment) -> Assignment:
        why = self._hold or self._sources.held(assignment)
        host = recipe_of(assignment).at or LOOPBACK
        local = replace(
            assignment.local,
            stopped=bool(why),
            held=why,
            waits=self._sources.waits() or self._sources.unreached(host),
            refreshes=self._refreshes.of(assignment),
        )
        return replace(assignment, local=local)
