"""What serves Cyberwave's drivers and workers on this node, put together.

directory      the documented configuration, which people and programs edit
broker, gate   what drivers speak to: workloads of the device, which outlive the agent
link, tokens   the agent's end of the gate
bridge         what drivers publish, on its way into the store
environment    the twins that this device serves, and what comes with them (`environment`)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from skerry.core.cyberwave.intake import Rules
from skerry.core.cyberwave.names import said_prefix
from skerry.core.cyberwave.recordings import recordings
from skerry.kit.errors import Refused, Transient
from skerry.kit.heap import keep_small
from skerry.kit.tasks import Guard, Loops, Tasks, attempted
from skerry.node.broker.bridge import Bridge, Store
from skerry.node.broker.children import BROKER, GATE, BrokerWorkloads
from skerry.node.broker.granting import Granting
from skerry.node.broker.link import GateLink
from skerry.node.broker.pongs import Pongs
from skerry.node.broker.shares import Room, Shares
from skerry.node.cyberwave.environment import EnvironmentRoom
from skerry.node.cyberwave.living import LeftRunning, LivingGrants, running_of
from skerry.node.cyberwave.places import (
    BUS,
    Shared,
    config_directory,
    gate_plan,
    lead_to_models,
    prepare,
    set_log_level,
    shared_places,
    shared_size,
)
from skerry.node.cyberwave.programs import GateSide
from skerry.node.cyberwave.wiring import CyberwaveParts
from skerry.node.cyberwave.wishes import Wishes
from skerry.node.outside import Outside
from skerry.node.twin_ports import Told
from skerry.node.twins.known_config import ENVIRONMENT
from skerry.wire.cyberwave import CyberwaveStatus
from skerry.wire.devices import Command
from skerry.wire.local import LinkStatus
from skerry.wire.workload import Assignment

_REST = 0.2
"""Seconds between two looks at which instances live."""

log = logging.getLogger(__name__)


class CyberwaveRoom:
    """Built at the agent's start; `open` comes before anything is started, then `follow`."""

    def __init__(self, parts: CyberwaveParts) -> None:
        self._parts = parts
        self._plan = gate_plan(parts)
        self._outside = Outside(parts.settings.data_dir, parts.host.disk)
        self.directory, self._legacy = config_directory(parts, self._outside)
        self.broker = BrokerWorkloads(self._plan, parts.usual, parts.settings.cyberwave.mosquitto)
        self._left = LeftRunning(self._running, parts.usual)
        self.wishes = Wishes(self.broker)
        self.tokens: Granting
        self.bridge: Bridge
        self.link: GateLink
        self.pongs: Pongs
        self.environment: EnvironmentRoom | None = None
        self._living: LivingGrants
        self._shared: Shared
        self._is_open = False

    async def open(self) -> None:
        """Takes up what the device and the agent before this one know. Raises Refused.

        What cannot be had yet (a disk is full, a row cannot be read) is tried again; until then what runs goes on.
        """
        told = "drivers are not served yet, trying again"
        # Refused are the device's own settings. What the hub may have written keeps no agent from hearing it.
        if not await attempted(told, self._open, passing=(Refused,)):
            self.wishes.serve(self._left)

    async def _open(self) -> None:
        parts, plan, clock = self._parts, self._plan, self._parts.host.clock
        self.broker.take_up(self._running().get(BROKER))
        secret = prepare(plan, parts.host.disk)
        self._shared = await asyncio.to_thread(self._make_shared)
        self.tokens = Granting(secret, plan.run / "tokens", parts.host.disk)
        self._living = LivingGrants(self.tokens, self.wishes.launch_for)
        config = await self.directory.open(self._legacy)
        self._note(self.directory.made(self._legacy))
        data_dir = parts.settings.data_dir.absolute()
        lead_to_models(self.directory, data_dir, self._outside, parts.host.disk)
        set_log_level(config.variables)
        record = recordings(parts.settings.cyberwave.record)
        shares = Shares(self._room(), clock)
        store = Store(parts.records, parts.files, parts.quality, self.tokens.workload_of, shares)
        self.bridge = Bridge(
            store, lambda: Rules(self._prefix(), record), self, clock, parts.host.chance
        )
        hold = partial(parts.sockets.hold, GATE)
        self.link = GateLink(plan.run, plan.journal, clock, self.bridge.stored_of, hold)
        self.pongs = Pongs(self.link, self._prefix, clock)
        await self._try_environment()
        try:
            self._restore()
        except OSError as error:
            log.warning("cannot tell the gate of tokens, trying again: %s", error)
        self._is_open = True

    def _room(self) -> Room:
        """What is in the gate's journal comes into the store also from who is held: that much is not to be given away."""
        parts, records = self._parts, self._parts.records
        coming = min(self._plan.journal_limit, parts.settings.records.keep_limit // 4)

        async def tell(source: str, words: str) -> None:
            await parts.events.tell("skerry.driver.share", words, {"workload": source})

        return Room(
            lambda: records.kept_room() - coming,
            parts.files.left,
            lambda lane: records.head(lane).n,
            records.acknowledged,
            tell,
        )

    def _make_shared(self) -> Shared:
        settings = self._parts.settings
        on_disk = settings.data_dir.absolute() / "cyberwave" / BUS
        size = shared_size(settings.cyberwave.shared_memory)
        seals = self._parts.opened.cipher.seals
        return shared_places(self._plan.journal.parent, on_disk, size, seals=seals)

    def follow(self, tasks: Tasks) -> None:
        """The room's loops, once it is open."""
        _ = tasks.start(self._follow(tasks), name="drivers' room")

    async def _follow(self, tasks: Tasks) -> None:
        clock, chance = self._parts.host.clock, self._parts.host.chance
        guard = Guard("opening the room of drivers", clock, chance)
        while not self._is_open and not await guard.run(self._open):
            pass
        loops = Loops(tasks, clock, chance)
        loops.start(partial(self.wishes.follow, clock), name="the device's own wishes")
        loops.start(self.link.keep, name="gate")
        loops.start(partial(self.broker.follow, self._parts.host.clock), name="broker")
        loops.start(partial(self.bridge.run, self.link), name="what drivers publish")
        loops.start(self.pongs.run, name="answers to pings")
        loops.start(self._tell_tokens, name="tokens of drivers")
        loops.start(self._end_tokens, name="ends of tokens")
        loops.start(self.directory.run, name="configuration of drivers")
        loops.start(partial(keep_small, clock), name="free memory")
        tasks.forever(self._follow_environment(loops), name="environment of twins")

    async def status(self, link: LinkStatus) -> CyberwaveStatus | None:
        """For people; None: nothing is known yet."""
        if not self._is_open:
            return None
        from skerry.node.cyberwave.status import cyberwave_status  # noqa: PLC0415 - only when somebody asks

        around = self.environment
        shown = list if around is None else around.programs.shown
        found = await cyberwave_status(
            self.directory, link, self.link, shown, self.broker.problem, self._parts.host.clock
        )
        return (
            found if around is None else replace(found, problems=[*found.problems, *around.faults])
        )

    async def close(self) -> None:
        """Nothing is answered any more, and what was left out is told of."""
        if not self._is_open:
            return
        with suppress(Refused, Transient):
            await self.bridge.close()
        if self.environment is not None:
            await self.environment.close()
        self.link.close()

    def health(self, twin: str, payload: bytes, at: int) -> None:
        """As `broker.bridge.Heard`."""
        if self.environment is not None:
            self.environment.presence.health(twin, payload, at)

    def reply(self, twin: str, topic: str, payload: bytes) -> None:
        """As `broker.bridge.Heard`."""
        if self.environment is not None:
            self.environment.commands.heard(twin, topic, payload)

    def ping(self, twin: str, at: int) -> None:
        """As `broker.bridge.Heard`."""
        self.pongs.ping(twin, at)

    async def do(self, order: Command) -> Told:
        """As `twin_ports.EdgeOrders`."""
        return await self._environment_for(order.action).orders.do(order)

    async def start_driver(self, twin: str) -> str:
        """As `twin_ports.DriverStarts`. Raises Refused, too."""
        return await self._environment_for("start_driver").programs.room.start_driver(twin)

    def _environment_for(self, deed: str) -> EnvironmentRoom:
        if self.environment is None:
            raise Refused(
                f"cannot do «{deed}»: this device knows no environment. Set cyberwave.environment there."
            )
        return self.environment

    def _running(self) -> Mapping[str, Assignment]:
        parts = self._parts
        return running_of(parts.instances.load(), parts.host.clock.boot_id())

    def _prefix(self) -> str:
        """What the device's topics begin with now."""
        return said_prefix(self.directory.config.variables)

    async def _try_environment(self) -> None:
        """Nothing else here waits for it, and no row of the hub's may keep the agent from its hub."""
        if not await attempted("no twins are served, trying again", self._open_environment):
            self.wishes.serve(self._left)

    async def _open_environment(self) -> None:
        config = self.directory.config
        if not config.environment:
            if not self._is_open:
                log.warning(
                    "no environment is known, so no driver is started: set cyberwave.environment, or write %s",
                    self.directory.path / ENVIRONMENT,
                )
            self.wishes.serve(*([self._left] if self.directory.in_doubt else []))
            return
        gate = GateSide(self._plan, self.broker, self._shared, self.link, self.tokens, self._prefix)
        rows = (await self._parts.shared.open()).rows
        entities = await self._parts.shared.entities()
        room = EnvironmentRoom(self._parts, self.directory, gate, rows, entities)
        await room.open()
        self._note(room.written())
        self.wishes.serve(*room.sources)
        self.environment = room

    async def _take_environment(self) -> None:
        """Serves it as soon as it can; what runs then has its tokens before anything else is started. Safe to repeat."""
        if self.environment is None:
            await self._open_environment()
        self._restore()

    def _restore(self) -> None:
        """While nobody can say what is served, the gate's file of before holds. Raises OSError."""
        if self._is_known:
            self._living.restore(self._parts.instances.load())

    @property
    def _is_known(self) -> bool:
        """Whether the programs of the environment can be told."""
        return not self.wishes.serves(self._left)

    def _note(self, files: Sequence[Path]) -> None:
        """Files of the node, which agents of an older release did not note; the next start tries again what cannot be noted now."""
        for file in files:
            try:
                self._outside.note(file)
            except OSError as error:
                log.warning(
                    "cannot note for the erasure of this node that it wrote %s: %s", file, error
                )

    async def _follow_environment(self, loops: Loops) -> None:
        """Serves the twins of the environment from when it is known on; another one later is for the next start."""
        guard = Guard(
            "opening the environment of twins", self._parts.host.clock, self._parts.host.chance
        )
        seen = 0
        while self.environment is None:
            seen = await self.directory.changed.after(seen)
            while not await guard.run(self._take_environment):
                pass
        self.environment.follow(loops)
        held = self.environment.config
        while True:
            seen = await self.directory.changed.after(seen)
            now = self.directory.config
            if (now.environment, now.fingerprint) != (held.environment, held.fingerprint):
                log.warning(
                    "environment or fingerprint has changed in %s: the twins of environment %s are served until the node starts again",
                    self.directory.path, held.environment,
                )  # fmt: skip

    async def _tell_tokens(self) -> None:
        """What could not be told is told when this begins anew."""
        seen = 0
        while True:
            seen = await self.tokens.changed.after(seen)
            await self.link.tokens()

    async def _end_tokens(self) -> None:
        seen = 0
        while True:
            seen = await self._parts.supervisor.news.after(seen)
            if self._is_known:
                self._living.match(self._parts.instances.load())
            await self._parts.host.clock.sleep(_REST)
