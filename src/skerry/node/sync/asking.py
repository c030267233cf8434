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
from skerry.node.sync.pace import Pace

log = logging.getLogger(__name__)

T = TypeVar("T")

STUMBLED = Backoff(first=0.1, cap=1.5)


class Asking:
    """One kind of question. `check` asks for a hello, `again` rings for the next try after a refusal."""

    def __init__(
        self,
        clock: Clock,
        chance: random.Random,
        check: Bell,
        again: Bell,
        log: SyncLog,
        pace: Pace,
    ) -> None:
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
            if self._stumbles.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
                log.info("%s", error)
            await self._clock.sleep(STUMBLED.delay(self._stumbles, self._chance))
            self._check.ring()  # the hello that follows rings for the next try
            return None
        except (Refused, InvalidInput) as error:
            self.refusals += 1
            self.problem = str(error)
            delay = self._pace.delay(self.refusals, self._chance)
            await self._log.refused_pull(
                self.refusals, delay, str(error), failed=self._pace.has_failed(self.refusals)
            )
            log.warning("the hub refused a pull, next try in %.0f s: %s", delay, error)
            await self._clock.sleep(delay)
            self._again.ring()
            return None
        self.problem = ""
        self.refusals = self._stumbles = 0
        return reply
