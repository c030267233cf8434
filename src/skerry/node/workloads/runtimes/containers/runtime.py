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
from collections.abc import Callable
from dataclasses import dataclass, replace

from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, SkerryError, Transient
from skerry.kit.tasks import Guard
from skerry.node.ports import (
    ContainerLaunch,
    InstanceExit,
    Launch,
    ProcessIdentity,
    RunningInstance,
    StoredInstance,
)
from skerry.node.workloads.runtimes.containers.creation import (
    INSTANCE,
    LOG,
    OWNER,
    WORKLOAD,
    container_name,
    creation,
    exit_of,
    log_of,
    with_secrets,
)
from skerry.node.workloads.runtimes.containers.engine import (
    Container,
    Engine,
    EngineGone,
    EngineRefusal,
    Listed,
)
from skerry.node.workloads.runtimes.containers.output import ContainerLogs, LogTarget, Output
from skerry.node.workloads.runtimes.identity import identify, lives
from skerry.wire.workload import Exit

log = logging.getLogger(__name__)

_RETRY = Backoff(first=0.1, cap=1.5)
_ENDED = frozenset({"exited", "dead"})


@dataclass
class _Held:
    """An instance from before its container is made until its exit is acknowledged."""

    instance: str
    workload: str
    target: LogTarget
    container: str = ""
    identity: ProcessIdentity | None = None
    output: Output | None = None
    ended: bool = False


class ContainerRuntime:
    """Implements `Runtime`. `owner` marks this node's containers; those without it do not exist for us."""

    def __init__(
        self, engine: Engine, logs: ContainerLogs, owner: str, clock: Clock, chance: random.Random
    ) -> None:
        self._engine = engine
        self._logs = logs
        self._owner = owner
        self._clock = clock
        self._chance = chance
        self._held: dict[str, _Held] = {}
        self._on_exit: Callable[[InstanceExit], None] = lambda _exit: None
        self._guard = Guard("container engine", clock, chance)
        self._watch: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self.problem = ""

    async def connect(self, on_exit: Callable[[InstanceExit], None]) -> list[RunningInstance]:
        """As the port says; without an engine nothing is returned, and it is looked for until it is there."""
        self._on_exit = on_exit
        try:
            await self._compare()
        except (EngineGone, EngineRefusal) as error:
            self.problem = str(error)
        await self._settled()
        self._watch = asyncio.create_task(self._stay(), name="container engine")
        return self._running()

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        """Without an engine the first process says whether a container lives."""
        boot_id = self._clock.boot_id()
        if self.problem:
            for stored in known:
                launch, identity = stored.launch, stored.identity
                if launch.instance not in self._held and identity and lives(identity, boot_id):
                    held = _held(launch)
                    held.identity = identity
                    self._held[launch.instance] = held
        wanted = {stored.launch.instance for stored in known}
        return [running for running in self._running() if running.instance in wanted]

    async def start(self, launch: Launch) -> ProcessIdentity:
        held = self._held.setdefault(launch.instance, _held(launch))
        try:
            return await self._start(held, launch)
        except EngineRefusal as refusal:
            await self._discard(held)
            raise Refused(f"cannot start workload «{launch.workload}»: {refusal}") from refusal
        except Transient as error:
            raise Transient(f"cannot start workload «{launch.workload}»: {error}") from error

    def isolation(self, instance: str) -> str:
        return "standard: container" if instance in self._held else ""

    async def signal(self, instance: str, name: str) -> None:
        held = self._held.get(instance)
        if held is not None and held.container:
            await self._engine.kill(held.container, name)

    async def acknowledge(self, instance: str) -> None:
        held = self._held.get(instance)
        if held is None:
            return
        if held.container:
            await self._engine.remove(held.container)
        if held.output is not None:
            await held.output.stop()
        self._held.pop(instance, None)

    def has(self, instance: str) -> bool:
        """Whether this instance is, or was just, a container."""
        return instance in self._held

    async def execute(self, instance: str, command: list[str]) -> int:
        """Runs a command inside a running container; returns its exit code. Raises Transient or Refused."""
        held = self._held.get(instance)
        if held is None or not held.container:
            raise Transient("its container is not there")
        return await self._engine.execute(held.container, command)

    async def close(self) -> None:
        tasks = [*self._endings, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for held in self._held.values():
            if held.output is not None:
                await held.output.stop()
        self._held.clear()
        await self._engine.close()

    async def shut_down(self) -> None:
        if self._held:
            raise Refused(
                "cannot leave the container engine: instances run. Stop the workloads first."
            )
        await self.close()

    async def _start(self, held: _Held, launch: Launch) -> ProcessIdentity:
        assert isinstance(launch, ContainerLaunch)  # noqa: S101 - the router's promise
        if held.identity is not None:
            return held.identity
        if not held.container:
            body = creation(self._owner, launch)
            held.container = await self._create(launch, body)
        state = await self._state(held)
        fresh = state.state.status == "created"
        if fresh:
            await self._engine.start(held.container)
            state = await self._state(held)
        return self._attach(held, state, resumed=not fresh)

    async def _create(self, launch: Launch, body: dict[str, object]) -> str:
        """The container of an instance, which an agent that died in between may have made already."""
        name = container_name(launch)
        try:
            return await self._engine.create(name, body)
        except EngineRefusal as refusal:
            found = await self._engine.inspect(name) if refusal.status == 409 else None
            if found is None:
                raise
            return found.id

    async def _state(self, held: _Held) -> Container:
        found = await self._engine.inspect(held.container)
        if found is None:
            raise Transient("its container was removed by somebody else")
        return found

    def _attach(self, held: _Held, found: Container, *, resumed: bool) -> ProcessIdentity:
        """From now on its output is written and its end is told."""
        held.container = found.id
        identity = held.identity = held.identity or self._identity(found)
        if held.output is None:
            held.output = Output(self._engine, found.id, held.target, self._logs, resumed=resumed)
        if found.state.status in _ENDED:
            self._end(held)
        return identity

    def _end(self, held: _Held) -> None:
        if not held.ended:
            held.ended = True
            task = asyncio.create_task(self._tell(held), name=f"end of {held.instance}")
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _tell(self, held: _Held) -> None:
        """Tells the exit once the last words are in the log."""
        exit_ = Exit(at=self._clock.wall_ns())
        try:
            found = await self._engine.inspect(held.container)
            if found is not None:
                exit_ = self._exit(found)
        except SkerryError as error:
            log.warning("cannot ask how workload «%s» ended: %s", held.workload, error)
        if held.output is not None:
            await held.output.finish()
        self._on_exit(InstanceExit(held.instance, exit_))

    def _exit(self, found: Container) -> Exit:
        state = found.state
        return exit_of(state.exit_code, self._clock.wall_ns(), out_of_memory=state.o_o_m_killed)

    async def _stay(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow()
            except (EngineGone, EngineRefusal) as error:
                failures += 1
                if not self.problem:
                    log.warning("%s; its containers are shown as they were", error)
                self.problem = str(error)
            await self._clock.sleep(_RETRY.delay(failures, self._chance))

    async def _follow(self) -> None:
        """Watches what happens to our containers until the engine goes away."""
        happenings = self._engine.happenings(f"{OWNER}={self._owner}")
        async with contextlib.aclosing(happenings):
            async for happening in happenings:
                if not happening.action:
                    await self._compare()  # what happened before we watched
                    if self.problem:
                        log.info("the container engine is back")
                    self.problem = ""
                elif happening.action in {"die", "died"}:
                    self._died(happening.actor.attributes.get(INSTANCE, ""))

    def _died(self, instance: str) -> None:
        held = self._held.get(instance)
        if held is not None and held.identity is not None:
            self._end(held)

    async def _compare(self) -> None:
        """Takes up what the engine has of ours, and ends what it has no more."""
        listed = {
            one.labels[INSTANCE]: one
            for one in await self._engine.listed(f"{OWNER}={self._owner}")
            if INSTANCE in one.labels and WORKLOAD in one.labels
        }
        for instance, one in listed.items():
            await self._take(instance, one)
        for instance, held in tuple(self._held.items()):
            if instance not in listed and held.identity is not None and not held.ended:
                held.ended = True
                self._on_exit(InstanceExit(instance, Exit(at=self._clock.wall_ns())))

    async def _take(self, instance: str, one: Listed) -> None:
        if one.state == "created":
            return  # `start` is under way, or asks again
        held = self._held.setdefault(instance, _listed(instance, one))
        found = await self._engine.inspect(one.id)
        if found is not None and not held.ended:
            if held.output is not None:
                await held.output.stop()
                held.output = None
            rules = with_secrets(held.target.rules, found.config.env or [])
            held.target = replace(held.target, rules=rules)
            self._attach(held, found, resumed=True)

    async def _discard(self, held: _Held) -> None:
        """What the engine made of a launch that it then refused."""
        self._held.pop(held.instance, None)
        if held.container:
            with contextlib.suppress(EngineGone, EngineRefusal):
                await self._engine.remove(held.container)

    async def _settled(self) -> None:
        """Returns when every exit that was found has been told."""
        if self._endings:
            await asyncio.wait(self._endings)

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


def _held(launch: Launch) -> _Held:
    target = LogTarget(launch.log.absolute(), launch.log_rules)
    return _Held(launch.instance, launch.workload, target)


def _listed(instance: str, one: Listed) -> _Held:
    return _Held(instance, one.labels[WORKLOAD], LogTarget(*log_of(one.labels[LOG])), one.id)
