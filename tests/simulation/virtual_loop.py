"""An event loop whose time is virtual: when nothing is ready, the clock moves to what is due next. It never waits.

Threads are done without: what the product gives to one runs in the loop, after a time that chance chooses. Tasks and
futures have numbers for their hashes, so that a set of them has the same order in every run of a seed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_STEP = 0.003
"""Seconds that a piece of work in «another thread» takes at most."""


class Stuck(AssertionError):
    """Nothing is due any more: everybody waits for somebody."""


class _Time(selectors.SelectSelector):
    """Nobody else speaks: a wait for events is a step in time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing will ever happen again")
        self.now += max(timeout, 0.0)
        return []


class _Future(asyncio.Future[Any]):
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    def __init__(self, number: int, work: Any, **more: Any) -> None:
        self._number = number
        super().__init__(work, **more)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """`chance` decides how long work takes that the product does in threads."""

    def __init__(self, chance: random.Random) -> None:
        self._virtual = _Time()
        self._chance = chance
        self._numbers = itertools.count(1)
        super().__init__(self._virtual)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._virtual.now

    def pause(self) -> float:
        """How long the next piece of work in another thread takes."""
        return self._chance.uniform(0.0, LONGEST_STEP)

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(next(self._numbers), self)

    def run_in_executor(
        self, _executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        self.call_later(self.pause(), _do, future, func, args)
        return future

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **more: Any
    ) -> asyncio.Task[T]:
        return _Task(next(self._numbers), work, loop=loop, **more)

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def _do(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        result = func(*args)
    except Exception as error:  # noqa: BLE001 - whoever waits gets it
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


def run_virtually(work: Coroutine[Any, Any, T], chance: random.Random) -> T:
    """Runs `work` to its end in a loop of its own."""
    loop = VirtualLoop(chance)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
