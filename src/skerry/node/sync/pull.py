"""Pulling the hub's changes: on news, after every hello, and now and then in case news were lost.

What arrives is applied by the store in one transaction with its cursor; the store rings for whoever acts on it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Protocol

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.tasks import Guard
from skerry.node.ports import Uplink
from skerry.node.store.state import NodeStore
from skerry.node.sync.asking import Asking
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.wire.local import PullCounters
from skerry.wire.sync import Pull, PullReply

log = logging.getLogger(__name__)


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


class Company(Protocol):
    """Asks the state's first question of a round together with another one (`together.Together`)."""

    def coming(self) -> None:
        """A round has begun and will ask in a moment."""
        ...

    async def pull(self, pull: Pull) -> PullReply:
        """As `Uplink.pull`."""
        ...

    def gone(self) -> None:
        """The round asks no more."""
        ...


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
        self.news = Bell()
        self.last_success = self.begun = self.ended = 0
        self._uplink = uplink
        self._store = store
        self._clock = clock
        self._chance = chance
        self._asking = Asking(clock, chance, check, self.news, store.log, pace, tell=tell)
        self._whole = WholeSet()
        self._stated = ""
        self.company: Company | None = None
        """On a node that shares rows."""
        self._guard = Guard("pulling from the hub", clock, chance)

    @property
    def problem(self) -> str:
        """Why the hub does not answer as it should; empty when it does."""
        return self._asking.problem

    @property
    def refusals(self) -> int:
        """In a row."""
        return self._asking.refusals

    async def run(self) -> None:
        """Pulls at every ring, until cancelled."""
        seen = self.news.count - 1
        while True:
            seen = await self.news.within(seen, self._pace.pull_after(self._chance), self._clock)
            while not await self._guard.run(self._pass):
                seen = self.news.count

    @property
    def counts(self) -> PullCounters:
        """Since the start."""
        return self._asking.counts

    @property
    def may_be_held(self) -> bool:
        """What the hub wants of this node is always urgent."""
        return False

    def hurry(self) -> None:
        """A pull that was refused is tried now."""
        self._asking.hurry()

    async def save(self) -> None:
        """Nothing to do: each pull is told as it comes."""

    async def _pass(self) -> None:
        company = self.company
        self.begun += 1
        if company is None:
            await self._round(self._uplink.pull)
            return
        company.coming()
        try:
            await self._round(company.pull)
        finally:
            company.gone()

    async def _round(self, ask: Callable[[Pull], Awaitable[PullReply]]) -> None:
        more, at_hub = True, ""
        own = await self._store.own_digest()
        while more:
            cursor = await self._store.fact("cursor") or None
            pull = Pull(cursor, await self._store.digest())
            reply = await self._asking.ask(partial(ask, pull))
            if reply is None:
                return
            self._asking.count(rows=len(reply.rows))
            whole = self._whole.gather(reply)
            if reply.rows or whole is not None or reply.cursor != cursor:
                await self._store.apply_pull(reply.rows, reply.cursor, whole=whole)
            if whole is not None:
                self._whole = WholeSet()
            more, at_hub = reply.more, reply.own
        await self._state_again(own, at_hub)
        self._asking.count(rounds=1)
        self.ended = self.begun
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
