"""How a container ended: asked of the engine, which learns of it later than the kernel tells us, or is away."""

from __future__ import annotations

import random

from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock
from skerry.node.workloads.runtimes.containers.creation import exit_of
from skerry.node.workloads.runtimes.containers.engine import (
    Container,
    Engine,
    EngineGone,
    EngineRefusal,
)
from skerry.node.workloads.runtimes.containers.held import Held, has_ended
from skerry.wire.workload import Exit

_SOON = Backoff(first=0.004, cap=1.5)
_AWAY = Backoff(first=0.1, cap=1.5)

_ANSWERS = 25
"""Questions that an engine may answer with «it runs», over half a minute."""


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
        if found is None or has_ended(found, held.identity):
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
    out_of_memory = found.state.o_o_m_killed or held.out_of_memory
    return exit_of(found.state.exit_code, at, "out of memory" if out_of_memory else "")
