"""Asking the hub for something again and again: what a try that failed means for the next one. Used by `pull` and `row_pull`."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.node.store.sync_log import SyncLog
from skerry.node.sync.pace import PARKED, RESUMED, Pace, Tell, untold
from skerry.wire.local import PullCounters

log = logging.getLogger(__name__)

T = TypeVar("T")

STUMBLED = Backoff(first=0.1, cap=1.5)


class Asking:
    """One kind of question. `check` asks for a hello, `again` rings for the next try after a refusal.

    `of` says what is asked for where that is not the state: it stands in the log and in events.
    """

    def __init__(  # noqa: PLR0913 - time, whom to ask and who hears of it
        self,
        clock: Clock,
        chance: random.Random,
        check: Bell,
        again: Bell,
        log: SyncLog,
        pace: Pace,
        *,
        tell: Tell = untold,
        of: str = "",
    ) -> None:
        self._tell = tell
        self._of = of
        self._hurried = Bell()
        self.counts = PullCounters()
        self._clock = clock
        self._chance = chance
        self._check = check
        self._again = again
        self._log = log
        self._pace = pace
        self._stumbles = 0
        self.problem = ""
        """Why the hub does not answer as it should; empty when it does."""
        self.refusals = 0
        """In a row."""

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """The hub's answer, or None after the time that a failure has to wait."""
        try:
            reply = await call()
        except Transient as error:
            self._stumbles += 1
            self.count(cuts=1)
            if self._stumbles.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
                log.info("%s", error)
            await self._clock.sleep(STUMBLED.delay(self._stumbles, self._chance))
            self._check.ring()  # the hello that follows rings for the next try
            return None
        except (Refused, InvalidInput) as error:
            await self._refused(str(error))
            return None
        if self._pace.has_failed(self.refusals):
            await self._tell(RESUMED, self._name, {"attempts": self.refusals + 1})
        self.problem = ""
        self.refusals = self._stumbles = 0
        return reply

    @property
    def _name(self) -> str:
        return f"pull of {self._of}" if self._of else "pull"

    def hurry(self) -> None:
        """What was refused is asked again now."""
        self._hurried.ring()

    def count(self, *, rounds: int = 0, rows: int = 0, refusals: int = 0, cuts: int = 0) -> None:
        """So many more have come."""
        before = self.counts
        self.counts = PullCounters(
            before.rounds + rounds,
            before.rows + rows,
            before.refusals + refusals,
            before.cuts + cuts,
        )

    async def _refused(self, cause: str) -> None:
        self.refusals += 1
        self.count(refusals=1)
        self.problem = cause
        seen, delay = self._hurried.count, self._pace.delay(self.refusals, self._chance)
        failed = self._pace.has_failed(self.refusals)
        await self._log.refused_pull(self.refusals, delay, cause, failed=failed, of=self._of)
        log.warning("the hub refused a %s, next try in %.0f s: %s", self._name, delay, cause)
        if self.refusals == self._pace.attempts:
            await self._tell(PARKED, f"{self._name}: {cause}", {"attempts": self.refusals})
        await self._hurried.within(seen, delay, self._clock)
        self._again.ring()
