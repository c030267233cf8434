"""How a container ended: asked of the engine, which learns of it later than the kernel tells us, or is away."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.kit.tasks import Background
from skerry.node.ports import InstanceExit
from skerry.node.workloads.runtimes.containers.answers import Container
from skerry.node.workloads.runtimes.containers.creation import exit_of
from skerry.node.workloads.runtimes.containers.engine import Engine, EngineGone, EngineRefusal
from skerry.node.workloads.runtimes.containers.held import Held, code_of, has_ended
from skerry.node.workloads.runtimes.containers.memory import oom_counter
from skerry.node.workloads.runtimes.identity import watch_end
from skerry.wire.workload import Exit

_SOON = Backoff(first=0.004, cap=1.5)
_AWAY = Backoff(first=0.1, cap=1.5)

_ANSWERS = 25
"""Questions that an engine may answer with «it runs», over half a minute."""

_ANSWERS_WITHOUT_CODE = 12
"""Questions until the death of a container that runs again must have been told, over some six seconds."""

_GRACE = 10.0
"""Seconds for a container that we stop."""


class Endings:
    """Tells `on_exit` of each end, once, when the last words of its container are in the log.

    `follow` is called instead for a container that goes on: its engine starts it again.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        chance: random.Random,
        follow: Callable[[Held], None],
    ) -> None:
        self.on_exit: Callable[[InstanceExit], None] = lambda _exit: None
        self._engine = engine
        self._clock = clock
        self._chance = chance
        self._follow = follow
        self._background = Background()

    def watch(self, held: Held, pid: int, start_time: int) -> None:
        """The kernel tells the end of the first process sooner than any engine, and before its group is removed."""
        held.memory = oom_counter(pid)

        def ended() -> None:
            held.out_of_memory |= held.memory is not None and held.memory.has_risen()
            self.begin(held)

        if start_time:
            held.stop_watching = watch_end(pid, start_time, ended)

    def begin(self, held: Held) -> None:
        """It has ended; the engine is asked how, and first, whether it starts it again."""
        if held.ended:
            return
        if held.goes_on and not (held.leaving or held.reason):
            self._follow(held)
        else:
            self.end(held)

    def end(self, held: Held) -> None:
        """It has ended for good; the engine is asked how."""
        if not held.ended:
            held.ended = True
            self._background.start(self._tell(held), name=f"end of {held.instance}")

    def begin_unknown(self, held: Held) -> None:
        """It has ended, and the engine does not have it any more."""
        held.ended = True
        self.on_exit(InstanceExit(held.instance, Exit(at=self._clock.wall_ns())))

    def bring_about(self, held: Held, reason: str) -> None:
        """Stops it, for a reason that its exit will give."""
        if not held.ended:
            held.reason = reason
            held.news.ring()
            self._background.start(self._stop(held), name=f"stop of {held.instance}")

    async def told(self) -> None:
        """Returns when every end that has begun is told."""
        await self._background.ended()

    async def close(self) -> None:
        """Tells no more."""
        await self._background.close()

    async def _tell(self, held: Held) -> None:
        found = await as_it_ended(self._engine, held, self._clock, self._chance)
        exit_ = told_exit(held, found, self._clock.wall_ns())
        if held.output is not None:
            await held.output.finish()
        self.on_exit(InstanceExit(held.instance, exit_))

    async def _stop(self, held: Held) -> None:
        with contextlib.suppress(EngineGone, EngineRefusal):
            await self._engine.stop(held.container, _GRACE)


async def as_it_ended(
    engine: Engine, held: Held, clock: Clock, chance: random.Random
) -> Container | None:
    """The container once its engine knows of the end, too. Waits for the engine: nobody else has the exit code.

    None: the container is gone, or the engine answers and goes on not knowing.
    """
    answers = failures = 0
    while answers < _ANSWERS:
        try:
            found = await engine.inspect(held.container)
        except EngineGone:
            failures += 1
            await clock.sleep(_AWAY.delay(failures, chance))
            continue
        except EngineRefusal:
            return None
        if found is None:
            return None
        if has_ended(found, held.identity):
            told = code_of(found, held) is not None or held.reason
            if told or answers >= _ANSWERS_WITHOUT_CODE:
                return found
        answers += 1
        await clock.sleep(_SOON.delay(answers, chance))
    return None


def told_exit(held: Held, found: Container | None, at: int) -> Exit:
    """The exit, known at `at`: unknown when the container is gone."""
    if found is None:
        return Exit(at=at)
    if held.reason:  # however it took that, it did not end by itself
        return Exit(at=at, reason=held.reason)
    code = code_of(found, held)
    if code is None:
        return Exit(at=at, reason="its engine has started it again")
    out_of_memory = found.state.o_o_m_killed or held.out_of_memory
    return exit_of(code, at, "out of memory" if out_of_memory else "")
