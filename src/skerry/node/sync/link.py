"""Keeping in touch with the hub: hello until it answers, then the live link, and hello again when in doubt.

    offline ──hello──► polling ◄──WebSocket──► online
       ▲                  │                       │
       └──── hello fails ─┴───────────────────────┘

Only hello decides whether the hub is reached. `session` does the talking, `live_link` keeps the WebSocket,
`reachability` remembers.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Busy, InvalidInput, Refused, SkerryError, Transient
from skerry.kit.tasks import Tasks, supervised
from skerry.node.ports import NotKnown, OutOfService
from skerry.node.sync.reachability import Reachability

log = logging.getLogger(__name__)

UNREACHED = Backoff(first=0.1, cap=1.5)
"""Counted from the start of a try: one that took its full time is followed by the next at once."""

APART = 1.0
"""Seconds over which those spread whom a hub had no time for and asked to come again at the same moment."""

UNWANTED = Backoff(first=2.0, cap=30.0)
"""After a hello that the hub answered with a refusal."""

POLL_EVERY = 5.0


class Talk(Protocol):
    """What is said to the hub (`session.Session`). `greet` raises Transient, Refused or InvalidInput."""

    async def greet(self, tasks: Tasks) -> None: ...

    async def part(self) -> None: ...


class Live(Protocol):
    """Keeps a live link open until cancelled (`live_link.LiveLink`)."""

    async def keep(self) -> None: ...


class Link:
    """Runs for ever under its caller's guard. Ring `check` to have a hello now."""

    def __init__(
        self,
        talk: Talk,
        live: Live,
        reachability: Reachability,
        clock: Clock,
        chance: random.Random,
        check: Bell,
    ) -> None:
        self._talk = talk
        self._live = live
        self._reachability = reachability
        self._clock = clock
        self._chance = chance
        self._check = check
        self._checked = 0
        self.failures = 0
        self._refusals = 0
        self.out_of_service: Callable[[OutOfService], Awaitable[bool]] = _unheard
        """Told when the hub says so; whether that is the end."""

    async def once(self) -> None:
        """One outage or connection: returns when a hello has failed and it is time for the next."""
        started = self._clock.monotonic_ns()
        async with supervised() as tasks:
            error = await self._greet(tasks)
            if error is None:
                _ = tasks.start(self._live.keep(), name="live link")
            while error is None:
                self.failures = self._refusals = 0
                await self._until_doubtful()
                started = self._clock.monotonic_ns()
                error = await self._greet(tasks)
                # What stands would only cost such a hub more to begin again.
                while isinstance(error, Busy):
                    await self._clock.sleep(when_asked(error, self._chance))
                    error = await self._greet(tasks)
            await self._talk.part()
        if isinstance(error, OutOfService) and await self.out_of_service(error):
            return
        self.failures += 1
        if self.failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
            log.warning("%s", error)
        await self._reachability.offline(str(error), unknown=isinstance(error, NotKnown))
        due = started + int(self._delay(error) * NS)
        if due > self._clock.monotonic_ns():
            await self._clock.sleep((due - self._clock.monotonic_ns()) / NS)

    async def _greet(self, tasks: Tasks) -> SkerryError | None:
        self._checked = self._check.count
        try:
            await self._talk.greet(tasks)
        except (Transient, Refused, InvalidInput) as error:
            return error
        return None

    async def _until_doubtful(self) -> None:
        """Returns when somebody asks for a hello, or every five seconds without a live link."""
        while True:
            count = await self._check.within(self._checked, POLL_EVERY, self._clock)
            if count > self._checked or self._reachability.status.state != "online":
                return

    def _delay(self, error: SkerryError) -> float:
        """Seconds from the start of the try that failed to the next."""
        match error:
            case Busy():
                return when_asked(error, self._chance)
            case Transient():
                self._refusals = 0
                return UNREACHED.delay(self.failures, self._chance)
            case _:
                # Counted apart: the first after an outage may be for a certificate that ended in it, and is soon renewed.
                self._refusals += 1
                return UNWANTED.delay(self._refusals, self._chance)


async def _unheard(_error: OutOfService) -> bool:
    return False


def when_asked(busy: Busy, chance: random.Random) -> float:
    """Seconds until a hub that had no time for a hello is asked again."""
    return busy.after + APART * chance.random()
