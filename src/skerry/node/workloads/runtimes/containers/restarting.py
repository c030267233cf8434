"""Containers that their engine starts again whenever they end by themselves: the instance goes on as another process.

Docker waits longer each time, 100 ms at first, and says meanwhile that it is «restarting»; Podman starts it at once. Both
count. Neither does it after a stop that was asked for, which has to be said in a way that the engine understands.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.tasks import Background
from skerry.node.ports import EngineRestart, ProcessIdentity
from skerry.node.workloads.runtimes.containers.answers import Container
from skerry.node.workloads.runtimes.containers.creation import exit_of
from skerry.node.workloads.runtimes.containers.engine import (
    NO_ROOM,
    Engine,
    EngineGone,
    EngineRefusal,
)
from skerry.node.workloads.runtimes.containers.held import Fate, Held, fate_of
from skerry.node.workloads.runtimes.identity import identify, lives
from skerry.wire.workload import Exit

_SOON = Backoff(first=0.004, cap=1.5)
_AWAY = Backoff(first=0.1, cap=1.5)

_ANSWERS = 25
"""Questions that an engine may answer with neither an end nor a new process, over half a minute."""

_ANSWERS_WITHOUT_CODE = 7
"""Questions until the death of a container that runs again must have been told, over half a second."""

_JUST_ENDED = "Cannot update container"
"""Docker's words when a process has ended and it does not know yet: nothing was changed. As soon as it knows, it can."""

_ANSWERS_WITHIN_END = 10
"""Questions for which that may go on, over two seconds at least."""

_AT_LEISURE = 3600.0
"""Seconds that Podman gives a container to end: the node counts its own."""

_HEARD = 1.0
"""Seconds after which Podman has taken the order to stop one, and waits for its end."""


class Restarts:
    """Tells `on_restart` as a container ends, and again when it runs, unless it runs at once.

    `take_up` is called with one that runs again, `end` with one that has ended for good. `health` rings when what
    is to be said of a container's health may have changed.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        chance: random.Random,
        take_up: Callable[[Held, Container], ProcessIdentity],
        end: Callable[[Held], None],
        health: Bell,
    ) -> None:
        self.on_restart: Callable[[EngineRestart], None] = lambda _restart: None
        self._engine = engine
        self._clock = clock
        self._chance = chance
        self._take_up = take_up
        self._end = end
        self._health = health
        self._background = Background()

    def follow(self, held: Held) -> None:
        """Its first process has ended, as far as is known."""
        held.news.ring()
        if not held.followed:
            held.followed = True
            self._health.ring()
            self._background.start(self._follow(held), name=f"restart of {held.instance}")

    def tell_count(self, held: Held, found: Container) -> None:
        """How often it was started again while nobody watched."""
        if held.goes_on and not held.followed:
            unknown = Exit(at=self._clock.wall_ns())
            count = found.restart_count
            self.on_restart(EngineRestart(held.instance, count, unknown, held.identity))

    async def signal(self, held: Held, name: str) -> None:
        """Sends a signal that shall end it, for good."""
        held.leaving = True
        is_podman = (await self._engine.version()).is_podman
        if is_podman and name != "SIGKILL":
            await self._stop(held)
        else:
            if not is_podman:
                await self._never_restart(held.container)
            await self._engine.kill(held.container, name)
        held.news.ring()

    async def close(self) -> None:
        """Follows no more."""
        await self._background.close()

    async def _never_restart(self, container: str) -> None:
        """On a full disk Docker cannot write that down. What was killed by its API it does not start again as long as it lives."""
        for tries in itertools.count(1):
            try:
                await self._engine.never_restart(container)
            except EngineRefusal as refusal:
                if NO_ROOM in str(refusal):
                    return
                if _JUST_ENDED not in str(refusal) or tries > _ANSWERS_WITHIN_END:
                    raise
            else:
                return
            await self._clock.sleep(_SOON.delay(tries, self._chance))

    async def _stop(self, held: Held) -> None:
        """Podman starts one again that ends of any other signal, unless it was told to stop it. It answers at its end."""
        stop = self._engine.stop(held.container, _AT_LEISURE)
        order = asyncio.create_task(stop, name=f"stop of {held.instance}")
        await asyncio.wait({order}, timeout=_HEARD)
        if order.done():
            order.result()
        else:
            self._background.keep(order)

    async def _follow(self, held: Held) -> None:
        tries, down = 0, False
        while not (held.leaving or held.reason):
            seen, tries = held.news.count, tries + 1
            try:
                found = await self._engine.inspect(held.container)
            except EngineGone:
                await held.news.within(seen, _AWAY.delay(tries, self._chance), self._clock)
                continue
            except EngineRefusal:
                break
            fate = "ended" if found is None else self._fate(held, found)
            if found is None or fate == "ended" or (tries > _ANSWERS and not down):
                break
            if fate == "same":
                held.followed, held.code = False, None
                self._health.ring()
                return
            if fate == "again" and (held.code is not None or tries > _ANSWERS_WITHOUT_CODE):
                await self._runs_again(held, found)
                return
            if fate == "down" and not down:
                down, tries = True, 0
                await self._went_down(held, found)
            await held.news.within(seen, _SOON.delay(tries, self._chance), self._clock)
        held.followed = False
        self._end(held)

    def _fate(self, held: Held, found: Container) -> Fate:
        boot_id, state = self._clock.boot_id(), found.state
        if not state.pid and held.code is None:
            held.code = state.exit_code
        now = identify(state.pid, boot_id) if state.pid else None
        known = held.identity
        return fate_of(found, known, now, lives=known is not None and lives(known, boot_id))

    async def _went_down(self, held: Held, found: Container) -> None:
        await _last_words(held)
        self.on_restart(EngineRestart(held.instance, found.restart_count, self._exit(held, found)))

    async def _runs_again(self, held: Held, found: Container) -> None:
        exit_ = self._exit(held, found)
        await _last_words(held)
        held.followed = False
        identity = self._take_up(held, found)
        self._health.ring()
        self.on_restart(EngineRestart(held.instance, found.restart_count, exit_, identity))

    def _exit(self, held: Held, found: Container) -> Exit:
        at = self._clock.wall_ns()
        if held.code is None:
            return Exit(at=at)
        out_of_memory = held.out_of_memory or (not found.state.pid and found.state.o_o_m_killed)
        return exit_of(held.code, at, "out of memory" if out_of_memory else "")


async def _last_words(held: Held) -> None:
    if held.output is not None:
        output, held.output = held.output, None
        await output.finish()
