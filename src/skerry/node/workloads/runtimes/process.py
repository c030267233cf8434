"""Native processes: implements `node.ports.Runtime` with the keeper (`skerry.keeper`) as helper process.

The keeper forks, logs and keeps exits; this side starts it, talks to it and replaces it when it dies. In
between, running instances are looked after by `orphans`. Every request may be repeated, so a request whose
reply was lost is simply asked again of the next keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from skerry.keeper import protocol
from skerry.keeper.log_rules import rules_of
from skerry.keeper.protocol import VERSION, Fields, Message, ProtocolError
from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.kit.tasks import Guard
from skerry.node.ports import (
    InstanceExit,
    Launch,
    ProcessIdentity,
    ProcessLaunch,
    RunningInstance,
    StoredInstance,
)
from skerry.node.workloads.runtimes.held_sockets import HeldSockets
from skerry.node.workloads.runtimes.identity import find_instances
from skerry.node.workloads.runtimes.isolation import Isolation
from skerry.node.workloads.runtimes.keeper_client import (
    ConnectionLost,
    KeeperClient,
    KeeperRefusal,
    Transmit,
    open_socket,
)
from skerry.node.workloads.runtimes.keeper_fields import (
    adopt_fields,
    exit_of,
    held_of,
    spawn_fields,
)
from skerry.node.workloads.runtimes.keeper_process import KeeperProcess
from skerry.node.workloads.runtimes.orphans import Held, Orphans
from skerry.node.workloads.runtimes.start_errors import start_error
from skerry.wire.workload import Exit

if TYPE_CHECKING:
    from skerry.node.execution_port import Execution
    from skerry.wire.executions import Wish

log = logging.getLogger(__name__)

_RETRY = Backoff(first=0.01, cap=1.5)
_FIRST_ATTEMPTS = 5
_LONGEST_SOCKET_PATH = 107

Ask = Callable[[str, Fields], Awaitable[Message]]


class ProcessRuntime:
    """Implements `Runtime`. `run`, in the data directory, holds `keeper.sock`; a call gives up after `patience` seconds."""

    def __init__(
        self,
        run: Path,
        clock: Clock,
        chance: random.Random,
        isolation: Isolation,
        *,
        patience: float = 10.0,
        transmit: Transmit = protocol.transmit,
    ) -> None:
        self.keeper_socket = run.absolute() / "keeper.sock"
        self._directory = run.absolute().parent
        self._clock = clock
        self._chance = chance
        self._isolation = isolation
        self._patience = patience
        self._transmit = transmit
        self.sockets = HeldSockets(self.keeper_socket, patience)
        self._keeper = KeeperProcess(self.keeper_socket, clock)
        self._orphans = Orphans(clock)
        self._guard = Guard("connection to the keeper", clock, chance)
        self._on_exit: Callable[[InstanceExit], None] = lambda _exit: None
        self._held: dict[str, Held] = {}
        self._listed: set[str] = set()
        self._client: KeeperClient | None = None
        self._attached = asyncio.Event()
        self._lost = asyncio.Event()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def keeper_pid(self) -> int | None:
        """The keeper that answers, or None while there is none."""
        return self._keeper.pid if self._attached.is_set() else None

    async def connect(self, on_exit: Callable[[InstanceExit], None]) -> list[RunningInstance]:
        if len(str(self.keeper_socket)) > _LONGEST_SOCKET_PATH:
            raise Refused(
                f"cannot use {self.keeper_socket}: a socket's path has at most {_LONGEST_SOCKET_PATH} characters."
                " Choose a shorter data directory."
            )
        self._on_exit = on_exit
        await self._attach_first()
        self._isolation.sweep()
        self._task = asyncio.create_task(self._stay_attached(), name="connection to the keeper")
        return self._running(self._held)

    async def adopt(self, known: list[StoredInstance]) -> list[RunningInstance]:
        boot_id = self._clock.boot_id()
        nameless = [stored.launch.instance for stored in known if stored.identity is None]
        found = find_instances(nameless, boot_id)
        unlisted = [
            replace(held_of(stored.launch), identity=stored.identity or found.get(instance))
            for stored in known
            if (instance := stored.launch.instance) not in self._held
        ]
        for held in await self._keeper.inherit(unlisted, boot_id):
            # Even when its first process has ended: the keeper ends what that has left.
            if held.identity is None or held.identity.boot_id == boot_id:
                await self._adopt(held, self._ask)
        return self._running(stored.launch.instance for stored in known)

    async def start(self, launch: Launch) -> ProcessIdentity:
        assert isinstance(launch, ProcessLaunch)  # noqa: S101 - the router's promise
        prepared = await self._isolation.prepare(launch)
        held = replace(held_of(launch), isolation=prepared.words)
        try:
            return await self._claim(held, "spawn", spawn_fields(launch, prepared), self._ask)
        except (KeeperRefusal, ProtocolError) as error:
            raise start_error(launch, error) from error

    def isolation(self, instance: str) -> str:
        held = self._held.get(instance)
        return held.isolation if held is not None else ""

    async def signal(self, instance: str, name: str) -> None:
        number = signal.Signals[name].value
        await self._ask("signal", [("instance", instance), ("number", number)])

    async def mask(self, workload: str, secrets: Sequence[str]) -> None:
        """From now on these texts are masked, too, in what its instances print. Raises as `signal`."""
        for held in [one for one in self._held.values() if one.workload == workload]:
            rules = held.log_rules
            more = rules.with_secrets(list(dict.fromkeys([*secrets, *rules.secrets])))
            if more != rules:
                self._held[held.instance] = replace(held, log_rules=more)
                await self._ask("mask", [("instance", held.instance), *more.fields()])

    async def execute_in(self, launch: ProcessLaunch, wish: Wish) -> Execution:
        """Starts a command in a running instance. Raises Refused or Transient."""
        from skerry.node.workloads.runtimes.process_execution import (  # noqa: PLC0415 - most nodes never do
            begin,
        )

        cannot = f"cannot run a command in workload «{launch.workload}»"
        held = self._held.get(launch.instance)
        if held is None:
            raise Refused(f"{cannot}: it does not run")
        prepared = await self._isolation.prepare(launch)
        if held.isolation and held.isolation != prepared.words:
            raise Refused(
                f"{cannot}: it was started with isolation «{held.isolation}», and now it would be «{prepared.words}». "
                "Restart it first."
            )
        return await begin(self.keeper_socket, launch, prepared, wish)

    async def acknowledge(self, instance: str) -> None:
        await self._ask("ack", [("instance", instance)])

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._client is not None:
            self._client.close()
            self._client = None
        self._attached.clear()
        self._held.clear()
        self.sockets.close()
        self._orphans.release_all()
        self._keeper.reap()

    async def shut_down(self) -> None:
        try:
            await self._ask("quit")
        except KeeperRefusal as refusal:
            raise Refused(
                f"cannot end the keeper: {refusal}. Stop the workloads first."
            ) from refusal
        await self.close()
        await self._keeper.ended()
        self._isolation.leave()

    async def _ask(self, operation: str, fields: Fields = ()) -> Message:
        """Asks until some keeper replies. Raises KeeperRefusal, ProtocolError, or Transient out of patience."""
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    await self._attached.wait()
                    assert self._client is not None  # noqa: S101 - set together with `_attached`
                    with contextlib.suppress(ConnectionLost):
                        return await self._client.ask(operation, fields)
        except TimeoutError as error:
            raise Transient(
                f"cannot get «{operation}» done: no keeper has answered for {self._patience:.0f} s. See keeper.log."
            ) from error

    async def _claim(self, held: Held, operation: str, fields: Fields, ask: Ask) -> ProcessIdentity:
        """Has the keeper start or adopt an instance, which is held from before the request until its exit.

        So the next keeper is asked to look for it should this one die before the reply, and an exit that
        comes together with the reply is not overlooked.
        """
        self._held.setdefault(held.instance, held)
        try:
            reply = await ask(operation, fields)
        except (KeeperRefusal, ProtocolError):
            self._held.pop(held.instance, None)
            raise
        identity = self._identity(reply)
        if held.instance in self._held:
            self._held[held.instance] = replace(held, identity=identity)
        return identity

    async def _adopt(self, held: Held, ask: Ask) -> bool:
        """False: the instance has ended."""
        try:
            groups = self._isolation.existing(held.workload, held.instance)
            await self._claim(held, "adopt", [*adopt_fields(held), *groups], ask)
        except KeeperRefusal as refusal:
            if refusal.word == "gone" or refusal.step == "exec":
                return False
            raise Transient(f"cannot adopt workload «{held.workload}»: {refusal}") from refusal
        return True

    async def _stay_attached(self) -> None:
        while True:
            await self._lost.wait()
            await self._guard.run(self._reattach)

    async def _reattach(self) -> None:
        try:
            await self._attach()
        except (Transient, Refused) as error:
            self._failures += 1
            delay = _RETRY.delay(self._failures, self._chance)
            if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
                log.warning("%s; failed %d times, next try in %.1f s", error, self._failures, delay)
            for instance, at in self._orphans.ended().items():
                if instance in self._held:
                    self._end(instance, Exit(at=at))
            await self._clock.sleep(delay)
        else:
            self._failures = 0
            log.info("attached to a keeper again; %d instances run", len(self._held))

    async def _attach_first(self) -> None:
        """As `_attach`, but a keeper that is just dying, and hangs up after it has been reached, is no failure."""
        for attempt in range(1, _FIRST_ATTEMPTS):
            with contextlib.suppress(ConnectionLost):
                return await self._attach()
            await self._clock.sleep(_RETRY.delay(attempt, self._chance))
        return await self._attach()

    async def _attach(self) -> None:
        """Finds or starts a keeper and makes its state and ours one."""
        sock = await self._open_socket()
        client = KeeperClient(sock, self._on_event, self._on_lost, self._transmit)
        attached = False
        try:
            async with asyncio.timeout(self._patience):
                await self._greet(client)
                await self._hand_over(client)
            attached = True
        except TimeoutError as error:
            raise Transient(
                f"cannot use the keeper at {self.keeper_socket}: it does not answer"
            ) from error
        finally:
            if not attached:
                client.close()
                self._on_lost()
        self._client = client
        self._lost.clear()
        self._attached.set()

    async def _open_socket(self) -> socket.socket:
        try:
            return open_socket(self.keeper_socket)
        except (FileNotFoundError, ConnectionRefusedError):
            await self._start_keeper()
        except OSError as error:
            raise Transient(f"cannot reach the keeper at {self.keeper_socket}: {error}") from error
        try:
            return open_socket(self.keeper_socket)
        except OSError as error:
            raise Transient(f"cannot reach the keeper at {self.keeper_socket}: {error}") from error

    async def _start_keeper(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._keeper.start()
        except TimeoutError as error:
            raise Transient(
                "cannot start the keeper: it does not get ready. See keeper.log."
            ) from error

    async def _greet(self, client: KeeperClient) -> None:
        try:
            reply = await client.ask("hello", [("version", VERSION), ("holds", 1)])
        except KeeperRefusal as refusal:
            raise Refused(
                f"cannot use the keeper at {self.keeper_socket}: {refusal}. End that agent or that keeper first."
            ) from refusal
        self._keeper.pid = reply.number("pid")
        self._listed.clear()
        listed = await client.ask("list")
        await self.sockets.take_up(listed.all("sockets"))

    async def _hand_over(self, client: KeeperClient) -> None:
        """Gives the keeper what runs without its knowing, and tells what has ended unseen."""
        lost = [held for held in self._held.values() if held.instance not in self._listed]
        ended = self._orphans.ended()
        told = [held for held in self._orphans.taken() if held.instance not in self._held]
        unanswered = [held.instance for held in lost if held.identity is None]
        if unanswered:
            self._keeper.end_unborn()
        found = find_instances(unanswered, self._clock.boot_id())
        for held in lost:
            identity = held.identity or found.get(held.instance)
            if identity is None:
                continue  # never started: `start` asks again
            if not await self._adopt(replace(held, identity=identity), client.ask):
                self._end(held.instance, Exit(at=ended.get(held.instance, self._clock.wall_ns())))
        for held in told:
            # Nothing to adopt, but the keeper brings the last output to the log.
            await self._adopt(held, client.ask)
        self._orphans.release_all()

    def _on_lost(self) -> None:
        self._attached.clear()
        self._client = None
        for held in self._held.values():
            self._orphans.take(held)
        self._keeper.reap()
        self._lost.set()

    def _on_event(self, message: Message) -> None:
        instance = message.text("instance")
        if message.text("event") == "exited":
            self._end(instance, exit_of(message))
            return
        self._listed.add(instance)
        self._held[instance] = Held(
            instance=instance,
            workload=message.text("workload"),
            log=Path(message.text("log")),
            log_rules=rules_of(message),
            identity=self._identity(message),
            moved=not self._is_here(Path(message.text("log"))),
            isolation=message.get("isolation") or "",
        )

    def _end(self, instance: str, exit_: Exit) -> None:
        self._held.pop(instance, None)
        # Not from inside: whoever waits for the reply to this instance's start is resumed first.
        asyncio.get_running_loop().call_soon(self._on_exit, InstanceExit(instance, exit_))

    def _identity(self, message: Message) -> ProcessIdentity:
        return ProcessIdentity(
            self._clock.boot_id(), message.number("pid"), message.number("start")
        )

    def _is_here(self, path: Path) -> bool:
        """Whether `path` is in our data directory, by whatever name that goes."""
        return path.resolve().is_relative_to(self._directory.resolve())

    def _running(self, instances: Iterable[str]) -> list[RunningInstance]:
        return [
            RunningInstance(held.instance, held.workload, held.identity, held.moved, held.isolation)
            for instance in instances
            if (held := self._held.get(instance)) is not None and held.identity is not None
        ]
