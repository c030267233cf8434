"""One run of the simulation: a hub, some nodes, a network, and what happens to them, all of it from one seed.

First everybody works in bad weather; then it clears up, all machines run, and within some hours of virtual time every node
must hold what the hub holds, with nothing waiting. Then the oracle looks at the hub's database.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from tests.simulation.deeds import ENTITIES, Deeds
from tests.simulation.findings import (
    own_rows,
    own_statuses,
    read_hub,
    repairs_of,
    shown_conflicts,
)
from tests.simulation.hub_deeds import HubDeeds
from tests.simulation.network import Network, Weather
from tests.simulation.one_thread import one_thread
from tests.simulation.oracle import SLOW, AtHub, Oracle, differences, unshown
from tests.simulation.sim_clock import BEGIN
from tests.simulation.sim_hub import HubLife, SimHub
from tests.simulation.sim_node import SimNode
from tests.simulation.storage import Storage
from tests.simulation.troubles import Troubles
from tests.simulation.virtual_loop import run_virtually

from skerry.kit.errors import Transient

LOOK_EVERY = 10.0


@dataclass(frozen=True)
class Plan:
    """What a run has. `faults` are names of `troubles.TROUBLES`; `rates` those of the network."""

    nodes: int = 2
    steps: int = 40
    pace: float = 2.0
    faults: tuple[str, ...] = ()
    trouble: float = 0.2
    entities: tuple[str, ...] = tuple(ENTITIES)
    people: float = 0.1
    """How often people do something at the hub, to one deed on a node."""
    patience: float = 3600.0
    """Virtual seconds after which what is not in step is stuck."""
    only: tuple[str, ...] = ()
    """The names of the deeds that are done, if not all."""
    rates: dict[str, float] = field(default_factory=dict)
    behind: float = 0.0
    """Seconds by which the first node's clock is slow from the beginning."""


@dataclass
class Outcome:
    """What a run found. `trace` is a hash over everything that it did and left."""

    seed: int
    wrong: list[str]
    seen: Counter[str]
    trace: str
    seconds: float


class World:
    """All that there is in one run."""

    def __init__(self, directory: Path, templates: Path, seed: int, plan: Plan) -> None:
        self.chance = random.Random(seed)
        self.plan = plan
        self.seen: Counter[str] = Counter()
        self.oracle = Oracle()
        self.weather = Weather(rates=dict(plan.rates))
        self.network = Network(random.Random(self.chance.random()), self.weather, self.seen)
        self.directory = directory
        self.templates = templates
        self.hub = SimHub("hub", self.storage("hub"), self.chance, self.seen)
        self.nodes: list[SimNode] = []
        self.troubles = Troubles(self, self.chance)
        self.deeds = Deeds(self.oracle, self.chance, self.seen, plan.entities, plan.only)
        self.people = HubDeeds(self.oracle, self.chance, self.seen, plan.entities)
        self._running: list[asyncio.Task[None]] = []
        self.events: list[str] = []

    def storage(self, name: str) -> Storage:
        template = self.templates / ("hub" if name == "hub" else "node")
        return Storage(self.directory / name, template, random.Random(self.chance.random()))

    def note(self, event: str) -> None:
        """For the trace, and for who looks for a cause."""
        self.events.append(f"{asyncio.get_running_loop().time():.6f} {event}")

    async def run(self) -> list[str]:
        """The whole run; returns what is wrong at the end."""
        self._watch(self.hub)
        await self.until(lambda: self.hub.is_up)
        for number in range(self.plan.nodes):
            name = f"n{number}"
            node_id = await self.hub.enrol(name)
            self.add(
                SimNode(name, node_id, self.storage(name), self.network, self.hub, self.chance)
            )
        await self.until(lambda: all(node.is_up for node in self.nodes))
        self.nodes[0].clock.jump_wall(-self.plan.behind)
        for node in self.nodes:
            assert node.life is not None
            for entity in self.plan.entities:
                await node.life.rows.declare(entity, ENTITIES[entity])
        try:
            await self._work()
            self.clear_up()
            return await self._settled()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def add(self, node: SimNode) -> None:
        """One more machine."""
        self.nodes.append(node)
        self._watch(node)

    def add_clone(self, original: SimNode, copy: Path) -> None:
        """Another machine with a copy of this one's disk starts beside it."""
        name = f"{original.name}-clone"
        storage = Storage(self.directory / name, copy, random.Random(self.chance.random()))
        self.oracle.put_back.add(name)
        self.add(SimNode(name, original.id, storage, self.network, self.hub, self.chance))

    def is_double(self, node: SimNode) -> bool:
        """Whether two machines are this node: they go on correcting each other's statuses until a person ends one."""
        return sum(each.id == node.id for each in self.nodes) > 1

    @property
    def _clocks_were_right(self) -> bool:
        return not self.plan.behind and not any(
            self.seen[f"trouble: clock of {which}"] for which in ("a node", "the hub")
        )

    def peek_hub(self, directory: Path | None = None) -> AtHub:
        """What is on the hub's disk now, or in a copy of it."""
        place = self.directory / "peek"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(
            directory or self.hub.storage.now, place, ignore=shutil.ignore_patterns("*-shm")
        )
        with contextlib.closing(sqlite3.connect(place / "hub.db")) as connection:
            return read_hub(lambda sql: connection.execute(sql).fetchall())

    def _watch(self, machine: SimHub | SimNode) -> None:
        self._running.append(asyncio.get_running_loop().create_task(machine.run()))

    async def until(self, true: object) -> None:
        """Waits for what somebody else does soon."""
        assert callable(true)
        while not true():
            self._look_for_failures()
            await asyncio.sleep(0.01)

    def _look_for_failures(self) -> None:
        for task in self._running:
            if task.done():
                task.result()

    async def _work(self) -> None:
        for _ in range(self.plan.steps):
            await asyncio.sleep(self.chance.expovariate(1.0 / self.plan.pace))
            self._look_for_failures()
            if self.plan.faults and self.chance.random() < self.plan.trouble:
                self.troubles.one(self.chance.choice(self.plan.faults))
            if self.chance.random() < self.plan.people and self.hub.life and self.hub.is_up:
                await self.people.one(self.hub.life)
            up = [node for node in self.nodes if node.is_up]
            if up:
                await self.deeds.one(self.chance.choice(up))

    def clear_up(self) -> None:
        """From now on nothing fails any more."""
        self.note("clear")
        self.weather.clear_up()
        for machine in (self.hub, *self.nodes):
            machine.fill(full=False)
            machine.storage.volume.cut_after(-1)
            machine.clock.set_right()

    async def _settled(self) -> list[str]:
        """Waits until all are in step; what is wrong then, or still."""
        end = asyncio.get_running_loop().time() + self.plan.patience
        wrong = ["nobody looked"]
        while wrong:
            if asyncio.get_running_loop().time() > end:
                return [f"stuck after {self.plan.patience:.0f} s: {each}" for each in wrong[:6]]
            await asyncio.sleep(LOOK_EVERY)
            self._look_for_failures()
            wrong = await self.out_of_step()
        self.note("in step")
        hub = await self.at_hub()
        wrong = self.oracle.check(hub)
        if not self.oracle.put_back:
            if "other answer" not in self.plan.rates:
                wrong += self.oracle.check_winners(hub, clocks_were_right=self._clocks_were_right)
                wrong += self._out_of_order(hub)
            wrong += await self._beside_the_rows()
        return wrong

    def _out_of_order(self, hub: AtHub) -> list[str]:
        """Edits that are not later than what they were made on. A hub counts no clock that is far ahead of its own."""
        if self.seen["trouble: clock of the hub"]:
            return []
        slow = [node.name for node in self.nodes if node.clock.most_behind > SLOW]
        return self.oracle.check_order(hub, BEGIN, slow)

    async def _beside_the_rows(self) -> list[str]:
        """What must be true where no machine was put back: conflicts are shown, and nothing had to be repaired."""
        assert self.hub.life is not None
        names = {node.id: node.name for node in self.nodes}
        waiting = [(place, names[who]) for place, who in await self.hub.life.waiting()]
        shown = {node.name: shown_conflicts(node) for node in self.nodes}
        self.seen["conflict: waiting"] += len(waiting)
        if (
            "other answer" in self.plan.rates
        ):  # an older answer says that less waits, or that more is there
            return []
        repairs = {node.name: repairs_of(node) for node in self.nodes}
        told = [f"{name} had to repair: {found[0]}" for name, found in repairs.items() if found]
        return [*unshown(waiting, shown), *told]

    async def out_of_step(self) -> list[str]:
        """What still waits or differs."""
        hub = self.hub.life
        down = [each.name for each in (self.hub, *self.nodes) if not each.is_up]
        if hub is None or down:
            return [f"down: {down}"]
        unsent = [each for node in self.nodes for each in await self._unsent(node)]
        return unsent or [*await self._rows_apart(hub), *await self._words_apart(hub)]

    async def _unsent(self, node: SimNode) -> list[str]:
        assert node.life is not None
        return [
            f"{node.name}: {lane.lane}: {lane.waiting} wait {lane.problem}"
            for lane in (await node.life.sync.status()).lanes
            if lane.waiting and not (lane.lane == "state" and self.is_double(node))
        ]

    async def _rows_apart(self, hub: HubLife) -> list[str]:
        rows = (await self.at_hub()).rows
        digests = await hub.digests()
        wrong: list[str] = []
        for node in self.nodes:
            wrong += differences(node.name, own_rows(node), rows)
            wrong += [
                f"{node.name}: digest of {entity}"
                for entity, digest in digests.items()
                if node.life is not None and node.life.pulled.digest(entity) != digest
            ]
        return wrong

    async def _words_apart(self, hub: HubLife) -> list[str]:
        """Statuses, and conflicts that a node shows although they are decided.

        The status of a workload that a node got to know after its copy was made stays at the hub: nobody takes it back.
        """
        statuses, waiting = await hub.statuses(), await hub.waiting()
        wrong: list[str] = []
        for node in self.nodes:
            own = await own_statuses(node)
            told = {
                place: text
                for place, text in statuses.items()
                if place[0] == node.id and (place in own or node.name not in self.oracle.put_back)
            }
            if not self.is_double(node):
                wrong += differences(node.name, own, told)
            if not self.oracle.put_back:
                decided = shown_conflicts(node) - {
                    place for place, who in waiting if who == node.id
                }
                wrong += [f"{node.name} shows {place} as waiting" for place in sorted(decided)]
        return wrong

    async def at_hub(self) -> AtHub:
        """Everything that the hub's database says."""
        assert self.hub.life is not None
        return await self.hub.life.store.read(
            lambda connection: read_hub(lambda sql: connection.execute(text(sql)).fetchall())
        )


class _Surprises(logging.Handler):
    """Collects what the product did not expect itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        if isinstance(cause, ExceptionGroup) and cause.split(Transient)[1] is None:
            return  # of a full disk, from two tasks at once
        self.found.append(f"surprise: {record.getMessage()}: {cause!r}")


def simulate(directory: Path, templates: Path, seed: int, plan: Plan) -> Outcome:
    """One run of the seed."""
    chance = random.Random(seed)
    surprises = _Surprises()
    logging.getLogger("skerry").addHandler(surprises)
    try:
        with one_thread(random.Random(chance.random())):
            return run_virtually(
                _simulate(directory, templates, seed, plan, surprises),
                random.Random(chance.random()),
            )
    finally:
        logging.getLogger("skerry").removeHandler(surprises)


async def _simulate(
    directory: Path, templates: Path, seed: int, plan: Plan, surprises: _Surprises
) -> Outcome:
    world = World(directory, templates, seed, plan)
    wrong = [*await world.run(), *surprises.found]
    told = json.dumps(
        [world.events, world.network.trace.hexdigest(), sorted(world.seen.items()), wrong]
    )
    trace = hashlib.sha256(told.encode()).hexdigest()[:16]
    return Outcome(seed, wrong, world.seen, trace, asyncio.get_running_loop().time())
