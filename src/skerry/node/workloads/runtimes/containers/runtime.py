"""Containers as instances: implements `node.ports.Runtime` by an engine that outlives the agent anyway.

Each instance is a container of its own with our labels; one that has ended stays until its exit is acknowledged,
so the engine itself is what keeps exits while no agent is there. Ends are seen in the engine's event stream.
While the engine is away, what ran counts as running: when it is back, the two are compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.kit.tasks import Guard
from skerry.node.ports import (
    ContainerLaunch,
    InstanceNews,
    Launch,
    NeedGone,
    ProcessIdentity,
    RunningInstance,
    StoredInstance,
)
from skerry.node.workloads.runtimes.containers.answers import Container, Happening, Listed
from skerry.node.workloads.runtimes.containers.creation import (
    INSTANCE,
    OWNER,
    WORKLOAD,
    with_secrets,
)
from skerry.node.workloads.runtimes.containers.endings import Endings
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone, EngineRefusal
from skerry.node.workloads.runtimes.containers.held import (
    ENDED,
    Held,
    devices_of,
    forget_process,
    goes_on,
    let_go,
    of_launch,
    of_listed,
    starts_again,
)
from skerry.node.workloads.runtimes.containers.image_port import ImageNeeds
from skerry.node.workloads.runtimes.containers.maker import Maker
from skerry.node.workloads.runtimes.containers.output import ContainerLogs, Output
from skerry.node.workloads.runtimes.containers.restarting import Restarts
from skerry.node.workloads.runtimes.identity import identify, lives

log = logging.getLogger(__name__)

_NO_IMAGE = re.compile(r"no such image|image not known", re.IGNORECASE)
_RETRY = Backoff(first=0.1, cap=1.5)
_POLITE = 2.0
"""Seconds that the removal of a container waits for starts that are under way: an engine does either slower."""

PATIENCE = (3.0, 10.0)
"""Seconds that the agent's start waits for the engine's first answer (one that is started by its socket takes one
or two), and then for all that runs and has ended: an engine that hangs must not hold up all else."""


class ContainerRuntime:
    """Implements `Runtime`. Containers without the mark of `maker.owner` do not exist for us.

    `patience` is that of `connect`. `problem` says why no engine answers; empty: one does.
    """

    def __init__(  # noqa: PLR0913 - what the container's room is made of
        self,
        engine: Engine,
        logs: ContainerLogs,
        maker: Maker,
        needs: ImageNeeds,
        clock: Clock,
        chance: random.Random,
        *,
        patience: tuple[float, float] = PATIENCE,
    ) -> None:
        self.engine = engine
        self._patience = patience
        self._needs = needs
        self._logs = logs
        self._maker = maker
        self._clock = clock
        self._chance = chance
        self._held: dict[str, Held] = {}
        self._restarts = Restarts(engine, clock, chance, self._take_up, self._end, needs.changed)
        self._endings = Endings(engine, clock, chance, self._restarts.follow)
        maker.devices.lost = self._unplugged
        self._guard = Guard("container engine", clock, chance)
        self._watch: asyncio.Task[None] | None = None
        self._seen = 0
        self._starts = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.problem = ""

    async def connect(self, on_exit: Callable[[InstanceNews], None]) -> list[RunningInstance]:
        """As the port says; when no engine answers soon, what is known by then is returned, and it is asked until it does."""
        self._endings.on_exit = self._restarts.on_restart = on_exit
        try:
            await self._first_look()
        except (EngineGone, EngineRefusal) as error:
            self.problem = str(error)
        self.watch(on_exit)
        return self._running()

    def watch(self, on_exit: Callable[[InstanceNews], None]) -> None:
        """Watches the engine from now on, for a node that has no containers yet."""
        self._endings.on_exit = self._restarts.on_restart = on_exit
        if self._watch is None:
            self._watch = asyncio.create_task(self._stay(), name="container engine")

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        """Without an engine the first process says whether a container lives; one that is started again may do so as another."""
        boot_id = self._clock.boot_id()
        if self.problem:
            for stored in known:
                launch, identity = stored.launch, stored.identity
                if identity and (goes_on(launch) or lives(identity, boot_id)):
                    held = self._held.setdefault(launch.instance, of_launch(launch))
                    held.identity = held.identity or identity
        wanted = {stored.launch.instance for stored in known}
        return [running for running in self._running() if running.instance in wanted]

    async def start(self, launch: Launch) -> ProcessIdentity:
        assert isinstance(launch, ContainerLaunch)  # noqa: S101 - the router's promise
        held = self._held.setdefault(launch.instance, of_launch(launch))
        self._starts += 1
        self._idle.clear()
        try:
            return await self._start(held, launch)
        except EngineRefusal as refusal:
            await self._discard(held)
            if refusal.status == 404 and _NO_IMAGE.search(str(refusal)):
                self._needs.gone(launch.spec.image)
                raise NeedGone(f"cannot start workload «{launch.workload}»: {refusal}") from refusal
            raise Refused(f"cannot start workload «{launch.workload}»: {refusal}") from refusal
        except Refused as refusal:
            self._held.pop(launch.instance, None)
            raise Refused(f"cannot start workload «{launch.workload}»: {refusal}") from refusal
        except NeedGone:
            self._held.pop(launch.instance, None)
            raise
        except Transient as error:
            raise Transient(f"cannot start workload «{launch.workload}»: {error}") from error
        finally:
            self._starts -= 1
            if not self._starts:
                self._idle.set()

    def isolation(self, instance: str) -> str:
        held = self._held.get(instance)
        return "" if held is None else held.isolation

    async def signal(self, instance: str, name: str) -> None:
        held = self._held.get(instance)
        if held is not None and held.goes_on:
            await self._restarts.signal(held, name)
        elif held is not None and held.container:
            await self.engine.kill(held.container, name)

    async def mask(self, workload: str, secrets: Sequence[str]) -> None:
        """From now on these texts are masked, too, in what its containers print."""
        for held in [one for one in self._held.values() if one.workload == workload]:
            rules = held.target.rules
            more = rules.with_secrets(list(dict.fromkeys([*secrets, *rules.secrets])))
            held.target = replace(held.target, rules=more)
            if more != rules and held.output is not None and not held.ended:
                await held.output.stop()
                held.output = Output(
                    self.engine, held.container, held.target, self._logs, resumed=True
                )

    async def acknowledge(self, instance: str) -> None:
        held = self._held.get(instance)
        if held is None:
            return
        with contextlib.suppress(TimeoutError):  # its successor comes first
            async with asyncio.timeout(_POLITE):
                await self._idle.wait()
        held.ended = True
        if held.container:
            await self.engine.remove(held.container)
        await let_go(held)
        self._maker.devices.let_go(instance)
        self._held.pop(instance, None)

    def has(self, instance: str) -> bool:
        """Whether this instance is, or was just, a container."""
        return instance in self._held

    async def execute(self, instance: str, command: list[str]) -> int:
        """Runs a command inside a running container; returns its exit code. Raises Transient or Refused."""
        container = self.container(instance)
        if not container:
            raise Transient("its container is not there")
        return await self.engine.execute(container, command)

    def container(self, instance: str) -> str:
        """The container of a running instance; empty: there is none."""
        held = self._held.get(instance)
        return "" if held is None or held.ended else held.container

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._restarts.close()
        await self._endings.close()
        for held in self._held.values():
            await let_go(held)
        self._held.clear()
        self._watch = None
        await self.engine.close()

    async def shut_down(self) -> None:
        if self._held:
            raise Refused(
                "cannot leave the container engine: instances run. Stop the workloads first."
            )
        await self.close()

    async def _first_look(self) -> None:
        """Takes up what the engine has; returns when every exit that was found has been told."""
        first, whole = self._patience
        try:
            async with asyncio.timeout(first):
                await self.engine.version()
            async with asyncio.timeout(whole):
                await self._compare()
                await self._endings.told()
        except TimeoutError as error:
            raise EngineGone(
                f"cannot reach the container engine at {self.engine.socket}: it hangs (it takes connections and does not answer)"
            ) from error

    async def _start(self, held: Held, launch: ContainerLaunch) -> ProcessIdentity:
        if held.identity is not None:
            return held.identity
        if not held.container:
            held.container = await self._maker.make(launch)
        state = await self._state(held)
        fresh = state.state.status == "created"
        if fresh:
            await self.engine.start(held.container)
            state = await self._state(held)
        identity = self._attach(held, state, resumed=not fresh)
        self._restarts.tell_count(held, state)
        return identity

    async def _state(self, held: Held) -> Container:
        found = await self.engine.inspect(held.container)
        if found is None:
            raise Transient("its container was removed by somebody else")
        return found

    def _attach(self, held: Held, found: Container, *, resumed: bool) -> ProcessIdentity:
        """From now on its output is written and its end is told."""
        held.container, held.goes_on = found.id, starts_again(found)
        identity = held.identity = held.identity or self._identity(found)
        if held.output is None:
            held.output = Output(self.engine, found.id, held.target, self._logs, resumed=resumed)
        self._judge_health(held, found.state.health.status if found.state.health else "")
        missed = found.state.pid != identity.pid or found.state.status == "restarting"
        if found.state.status in ENDED or (held.goes_on and missed):
            self._endings.begin(held)
        elif held.stop_watching is None:
            self._endings.watch(held, identity.pid, identity.start_time)
        return identity

    def _take_up(self, held: Held, found: Container) -> ProcessIdentity:
        forget_process(held)
        return self._attach(held, found, resumed=True)

    def _end(self, held: Held) -> None:
        self._endings.end(held)

    def _judge_health(self, held: Held, word: str) -> None:
        health = "" if word == "none" else word
        if held.health != health:
            held.health = health
            self._needs.changed.ring()

    def health(self, instance: str) -> str | None:
        """What the container's health check says: starting, healthy, unhealthy; empty: it has none; None: unknown."""
        held = self._held.get(instance)
        if held is None or held.identity is None or held.followed:
            return None
        return held.health

    async def _stay(self) -> None:
        failures = 0
        while True:
            before = self._seen
            try:
                await self._follow()
            except (EngineGone, EngineRefusal) as error:
                if not self.problem:
                    log.warning("containers are shown as they were: %s", error)
                self.problem = str(error)
            failures = failures + 1 if self._seen == before else 1
            await self._clock.sleep(_RETRY.delay(failures, self._chance))

    async def _follow(self) -> None:
        """Watches what happens to our containers until the engine goes away."""
        happenings = self.engine.happenings(f"{OWNER}={self._maker.owner}")
        async with contextlib.aclosing(happenings):
            async for happening in happenings:
                if not happening.action:
                    await self._compare()  # what happened before we watched
                    if self.problem:
                        log.info("the container engine is back")
                        self._needs.look_again()
                    self.problem = ""
                    self._seen += 1
                else:
                    self._happened(happening)

    def _happened(self, happening: Happening) -> None:
        attributes = happening.actor.attributes
        held = self._held.get(attributes.get(INSTANCE, ""))
        if held is None or held.identity is None:
            return
        held.news.ring()
        action, _, word = happening.action.partition(": ")
        if action in {"die", "died"}:
            code = attributes.get("exitCode") or attributes.get("containerExitCode")
            held.code = int(code) if held.code is None and code else held.code
            self._endings.begin(held)
        elif action == "oom":
            held.out_of_memory = True
        elif action == "health_status":
            self._judge_health(held, word or attributes.get("health_status", ""))

    async def _compare(self) -> None:
        """Takes up what the engine has of ours, and ends what it has no more."""
        listed = {
            one.labels[INSTANCE]: one
            for one in await self.engine.listed(f"{OWNER}={self._maker.owner}")
            if INSTANCE in one.labels and WORKLOAD in one.labels
        }
        for instance, one in listed.items():
            await self._take(instance, one)
        for instance, held in tuple(self._held.items()):
            if instance not in listed and held.identity is not None and not held.ended:
                self._endings.begin_unknown(held)

    async def _take(self, instance: str, one: Listed) -> None:
        if one.state == "created":
            if instance not in self._held:  # made by a start that nobody remembers
                await self.engine.remove(one.id)
            return
        held = self._held.setdefault(instance, of_listed(instance, one))
        self._maker.devices.was_handed(instance, devices_of(one))
        found = await self.engine.inspect(one.id)
        if found is not None and not held.ended and not held.followed:
            if held.output is not None:
                await held.output.stop()
                held.output = None
            rules = with_secrets(held.target.rules, found.config.env or [])
            rules = rules.with_secrets([*rules.secrets, *self._logs.masked(held.workload)])
            held.target = replace(held.target, rules=rules)
            self._attach(held, found, resumed=True)
            self._restarts.tell_count(held, found)

    def _unplugged(self, instance: str) -> None:
        held = self._held.get(instance)
        if held is not None:
            self._endings.bring_about(held, "its USB device was unplugged")

    async def _discard(self, held: Held) -> None:
        """What the engine made of a launch that it then refused."""
        self._held.pop(held.instance, None)
        held.ended = True
        if held.container:
            with contextlib.suppress(EngineGone, EngineRefusal):
                await self.engine.remove(held.container)

    def _identity(self, found: Container) -> ProcessIdentity:
        boot_id = self._clock.boot_id()
        known = identify(found.state.pid, boot_id) if found.state.pid else None
        return known or ProcessIdentity(boot_id, found.state.pid, 0)

    def _running(self) -> list[RunningInstance]:
        return [
            RunningInstance(held.instance, held.workload, held.identity)
            for held in self._held.values()
            if held.identity is not None and not held.ended
        ]
