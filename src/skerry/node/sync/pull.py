"""Pulling the hub's changes: on news, after every hello, and now and then in case news were lost.

What arrives is applied by the store in one transaction with its cursor; the store rings for whoever acts on it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Set as AbstractSet

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.tasks import Guard
from skerry.node.ports import Uplink
from skerry.node.store.state import NodeStore
from skerry.node.sync.pace import PARKED, RESUMED, Pace, Tell, untold
from skerry.wire.local import PullCounters
from skerry.wire.sync import Pull, PullReply

log = logging.getLogger(__name__)

STUMBLED = Backoff(first=0.1, cap=1.5)


class WholeSet:
    """The keys of a whole set that comes in several answers: what is not among them may only go at its end."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] | None = None

    def gather(self, reply: PullReply) -> AbstractSet[tuple[str, str]] | None:
        """Entity and id of every row of the set when `reply` is its last part, else None.

        A part may come again; a set whose beginning this process has not seen is never complete.
        """
        if reply.full:
            self._keys = set()
        if self._keys is None:
            return None
        for row in reply.rows:
            if row.deleted:
                self._keys.discard((row.entity, row.id))
            else:
                self._keys.add((row.entity, row.id))
        return None if reply.more else frozenset(self._keys)


class PullLoop:
    """Takes over the hub's rows. `news` is rung by the live link and after each hello."""

    def __init__(  # noqa: PLR0913 - both ends, time, and who hears of it
        self,
        uplink: Uplink,
        store: NodeStore,
        clock: Clock,
        chance: random.Random,
        check: Bell,
        *,
        pace: Pace,
        tell: Tell = untold,
    ) -> None:
        self._pace = pace
        self._tell = tell
        self.counts = PullCounters()
        self.news = Bell()
        self._hurried = Bell()
        self.problem = ""
        self.refusals = 0
        self.last_success = 0
        self._stumbles = 0
        self._uplink = uplink
        self._store = store
        self._clock = clock
        self._chance = chance
        self._check = check
        self._whole = WholeSet()
        self._stated = ""
        self._guard = Guard("pulling from the hub", clock, chance)

    async def run(self) -> None:
        """Pulls at every ring, until cancelled."""
        seen = self.news.count - 1
        while True:
            seen = await self.news.within(seen, self._pace.pull_after(self._chance), self._clock)
            await self._guard.run(self._pass)

    def hurry(self) -> None:
        """A pull that was refused is tried now."""
        self._hurried.ring()

    async def _pass(self) -> None:
        more, at_hub = True, ""
        own = await self._store.own_digest()
        while more:
            cursor = await self._store.fact("cursor") or None
            reply = await self._ask(Pull(cursor, await self._store.digest()))
            if reply is None:
                return
            self._count(rows=len(reply.rows))
            whole = self._whole.gather(reply)
            if reply.rows or whole is not None or reply.cursor != cursor:
                await self._store.apply_pull(reply.rows, reply.cursor, whole=whole)
            if whole is not None:
                self._whole = WholeSet()
            more, at_hub = reply.more, reply.own
        await self._state_again(own, at_hub)
        self._count(rounds=1)
        self.last_success = self._clock.wall_ns()

    async def _state_again(self, own: str, at_hub: str) -> None:
        """Sends what only this node writes again, once for each other version of it that the hub has.

        That is another agent's with this identity, which has gone or is still there. A digest that changed during
        the pull says nothing.
        """
        differs = own and at_hub and at_hub not in {own, self._stated}
        if differs and own == await self._store.own_digest():
            log.warning(
                "the hub has other statuses of this node than this node itself: sending them again"
            )
            self._stated = at_hub
            await self._store.requeue_state()

    async def _ask(self, pull: Pull) -> PullReply | None:
        try:
            reply = await self._uplink.pull(pull)
        except Transient as error:
            self._stumbles += 1
            self._count(cuts=1)
            if self._stumbles.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time: no flood
                log.info("%s", error)
            await self._clock.sleep(STUMBLED.delay(self._stumbles, self._chance))
            self._check.ring()  # the hello that follows rings for the next try
            return None
        except (Refused, InvalidInput) as error:
            await self._refused(str(error))
            return None
        if self._pace.has_failed(self.refusals):
            await self._tell(RESUMED, "pull", {"attempts": self.refusals + 1})
        self.problem = ""
        self.refusals = self._stumbles = 0
        return reply

    async def _refused(self, cause: str) -> None:
        self.refusals += 1
        self._count(refusals=1)
        self.problem = cause
        seen, delay = self._hurried.count, self._pace.delay(self.refusals, self._chance)
        failed = self._pace.has_failed(self.refusals)
        await self._store.log.refused_pull(self.refusals, delay, cause, failed=failed)
        log.warning("the hub refused a pull, next try in %.0f s: %s", delay, cause)
        if self.refusals == self._pace.attempts:
            await self._tell(PARKED, f"pull: {cause}", {"attempts": self.refusals})
        await self._hurried.within(seen, delay, self._clock)
        self.news.ring()

    def _count(self, *, rounds: int = 0, rows: int = 0, refusals: int = 0, cuts: int = 0) -> None:
        before = self.counts
        self.counts = PullCounters(
            before.rounds + rounds,
            before.rows + rows,
            before.refusals + refusals,
            before.cuts + cuts,
        )
