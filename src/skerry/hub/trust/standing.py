"""What is open and stays open (links, streams, long downloads) is judged again and again, not only when it begins.

A token that is revoked or a certificate that ends is refused at the next request by itself; `Standing` sees to it that
what was begun before does not outlive it by more than JUDGE_EVERY and a moment. `api.standing` puts every request in.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator

from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import Guard, Tasks

log = logging.getLogger(__name__)

JUDGE_EVERY = 20.0
"""Seconds; what has lost its right must have ended within 60."""

Judge = Callable[[], Awaitable[object]]
"""Raises SkerryError when what is open may not go on, or when nobody can tell."""


class Standing:
    """Belongs to the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[object, tuple[Judge, Callable[[], None]]] = {}

    @contextlib.contextmanager
    def watch(self, judge: Judge, end: Callable[[], None]) -> Iterator[None]:
        """Within the block `end` is called, once, when `judge` refuses."""
        key = object()
        self._open[key] = judge, end
        try:
            yield
        finally:
            self._open.pop(key, None)

    async def judge(self) -> None:
        """Ends what may not go on. What cannot be judged ends, too: its peer comes again when that is over."""
        for key, (judge, end) in list(self._open.items()):
            try:
                await judge()
            except SkerryError as error:
                if self._open.pop(key, None) is not None:
                    log.info("ended what was open: %s", error)
                    end()

    def follow(self, tasks: Tasks, chance: random.Random) -> None:
        """Judges for as long as the tasks run."""
        tasks.forever(self._run(Guard("standing", self._clock, chance)), name="standing")

    async def _run(self, guard: Guard) -> None:
        while True:
            await self._clock.sleep(JUDGE_EVERY)
            await guard.run(self.judge)
