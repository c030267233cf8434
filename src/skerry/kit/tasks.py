"""Long-lived work: named tasks under one supervisor, and the one guard that each loop may have."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from skerry.kit.backoff import Backoff
from skerry.kit.errors import SkerryError

if TYPE_CHECKING:
    import random

    from skerry.kit.clock import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

_SURPRISE = Backoff(first=0.1, cap=30.0)


class Tasks:
    """Starts named tasks; all of them are cancelled when the supervised block is left."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Runs work that may end at any time."""
        task = self._group.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def forever(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs work that must not end before it is cancelled: ending by itself is an error."""

        async def run() -> None:
            await work
            raise RuntimeError(f"task «{name}» ended although it should run for ever")

        task = self.start(run(), name=name)
        # Cancelled before its first step, `run` never comes to its work, which nobody would have awaited then.
        task.add_done_callback(lambda _: work.close())

    def cancel(self) -> None:
        """Cancels every task that still runs."""
        for task in tuple(self._running):
            task.cancel()


class Background:
    """Tasks that run on beside their owner, until they end or the owner closes them. Their failures are their own affair."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs work from the next turn of the loop on."""
        self.keep(asyncio.create_task(work, name=name))

    def keep(self, task: asyncio.Task[None]) -> None:
        """Takes over a task that was begun elsewhere."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def ended(self) -> None:
        """Returns when all that run now have ended."""
        if self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Cancels all, and returns when they have ended. Raises what one of them fails with meanwhile."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread and returns when it has ended, also when cancelled.

    A thread cannot be stopped: who holds a lock for what it does must not let go of it before.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()  # nobody else will ask
        raise


@contextlib.asynccontextmanager
async def supervised() -> AsyncIterator[Tasks]:
    """Tasks under one TaskGroup: the first failure cancels the rest and is raised here."""
    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group)
        try:
            yield tasks
        finally:
            tasks.cancel()


class Guard:
    """The broad catch of one loop: an error slows it down and is logged, an unexpected one with its traceback.

    One that explains itself is logged the 1st, 2nd, 4th, 8th … time in a row: a full disk may last for days.
    """

    def __init__(self, name: str, clock: Clock, chance: random.Random) -> None:
        self._name = name
        self._clock = clock
        self._chance = chance
        self.failures = 0

    async def run(self, once: Callable[[], Awaitable[None]]) -> bool:
        """Runs one pass. Returns False after a failure, having waited 0.1 s × 2ⁿ (at most 30 s)."""
        try:
            await once()
        except SkerryError as error:
            _end_if_cancelled(error)
            delay = self._failed()
            if self.failures.bit_count() == 1:
                log.warning(
                    "%s: %s (%d in a row), next try in %.1f s",
                    self._name,
                    error,
                    self.failures,
                    delay,
                )
        except Exception as error:
            _end_if_cancelled(error)
            delay = self._failed()
            log.exception(
                "%s failed (%d in a row), next try in %.1f s", self._name, self.failures, delay
            )
        else:
            self.failures = 0
            return True
        await self._clock.sleep(delay)
        return False

    def _failed(self) -> float:
        self.failures += 1
        return _SURPRISE.delay(self.failures, self._chance)


def _end_if_cancelled(error: Exception) -> None:
    """A TaskGroup whose child fails while its task is being cancelled raises the failure alone, and the task would go on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


async def attempted(
    name: str, once: Callable[[], Awaitable[object]], passing: tuple[type[Exception], ...] = ()
) -> bool:
    """Runs what is tried again elsewhere: a failure is logged, an unexpected one with its traceback. Raises what is `passing`."""
    try:
        await once()
    except Exception as error:
        _end_if_cancelled(error)
        if isinstance(error, passing):
            raise
        if isinstance(error, SkerryError | OSError):
            log.warning("%s: %s", name, error)
        else:
            log.exception("%s", name)
        return False
    return True


class Loops:
    """Runs what goes on for ever under a guard each: what fails is logged, and begins anew after a while."""

    def __init__(self, tasks: Tasks, clock: Clock, chance: random.Random) -> None:
        self._tasks = tasks
        self._clock = clock
        self._chance = chance

    def start(self, work: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Until the tasks are cancelled."""
        self._tasks.forever(self._insist(work, name), name=name)

    async def _insist(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        guard = Guard(name, self._clock, self._chance)
        while True:
            await guard.run(work)
