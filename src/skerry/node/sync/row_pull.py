"""Pulling shared rows: changes of each entity by its cursor, rows that are missing by their ids, and the repair of differences.

At news, after every hello, and now and then. When an entity is complete, the digests of both sides are compared. One
that differs is looked at again after another hello, since only a hello tells that the hub was put back.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.tasks import Guard
from skerry.node.ports import RowHub
from skerry.node.store.shared_pulled import Repaired, SharedPulled, Undecided
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.sync_log import SyncLog
from skerry.node.sync.asking import Asking
from skerry.node.sync.pace import REPAIRED, Pace, Tell, untold
from skerry.wire.local import PullCounters
from skerry.wire.records import Meta
from skerry.wire.shared import Buckets, RowsPart, RowsPull, RowsWanted, SharedRow

log = logging.getLogger(__name__)

WANTED = 1000
"""Rows that are asked for by their ids at a time."""


class RowPull:
    """Takes over the hub's shared rows. `news` rings as for `pull.PullLoop`; `greeted` counts answered hellos."""

    def __init__(  # noqa: PLR0913 - both ends, and when
        self,
        hub: RowHub,
        rows: SharedRows,
        pulled: SharedPulled,
        clock: Clock,
        chance: random.Random,
        *,
        news: Bell,
        check: Bell,
        greeted: Callable[[], int],
        pace: Pace,
        log: SyncLog,
        tell: Tell = untold,
    ) -> None:
        self._tell = tell
        self._log = log
        self._hub = hub
        self._rows = rows
        self._pulled = pulled
        self._clock = clock
        self._chance = chance
        self._news = news
        self._check = check
        self._greeted = greeted
        self._pace = pace
        self._asking = Asking(clock, chance, check, news, log, pace, tell=tell, of="rows")
        self._guard = Guard("pulling shared rows", clock, chance)
        self._suspected: dict[str, int] = {}
        """Hellos until then, by the entity whose digest differed."""
        self.last_success = 0

    @property
    def problem(self) -> str:
        """Why the hub does not answer as it should; empty when it does."""
        return self._asking.problem

    @property
    def refusals(self) -> int:
        """In a row."""
        return self._asking.refusals

    @property
    def counts(self) -> PullCounters:
        """Since the start."""
        return self._asking.counts

    def hurry(self) -> None:
        """A pull that was refused is tried now."""
        self._asking.hurry()

    async def run(self) -> None:
        """Pulls at every ring, until cancelled."""
        seen = self._news.count - 1
        while True:
            seen = await self._news.within(seen, self._pace.pull_after(self._chance), self._clock)
            await self._guard.run(self._pass)

    async def save(self) -> None:
        """Writes down what the log has not been told."""
        await self._log.flush_rows()

    async def _pass(self) -> None:
        """What is missing comes first: digests are compared after the changes."""
        if await self._missing() and await self._changes() and await self._missing():
            self._asking.count(rounds=1)
            self.last_success = self._clock.wall_ns()

    async def _changes(self) -> bool:
        """All changes of all entities; False: the hub did not answer."""
        cursors = self._pulled.cursors()
        while cursors:
            seen = self._rows.changed.count
            undecided = {entity: self._pulled.undecided(entity) for entity in cursors}
            page = await self._asking.ask(partial(self._hub.rows, RowsPull(dict(cursors))))
            if page is None:
                return False
            self._asking.count(rows=sum(len(part.rows) for part in page.parts))
            for part in page.parts:
                if not await self._take(part, undecided.get(part.entity, frozenset()), seen):
                    return False
                if part.more:
                    cursors[part.entity] = part.cursor
                else:
                    cursors.pop(part.entity, None)
            if not page.parts:
                break
        return True

    async def _missing(self) -> bool:
        return all([await self._fetch(entity) for entity in list(self._rows.declared)])

    async def _take(self, part: RowsPart, undecided: Undecided, seen: int) -> bool:
        """False: the hub did not answer. What was edited here or answered since `seen` is not in the hub's digest."""
        entity = part.entity
        if part.repair:
            if part.repair == "lost":
                await self._pulled.hub_went_back()
            return await self._repair(entity, part.cursor)
        await self._pulled.apply_part(part, undecided)
        await self._log_rows(entity, part.rows)
        if part.more or not part.digest or seen != self._rows.changed.count:
            return True
        if await self._rows.unsent(entity) or self._pulled.wanted(entity, 1):
            return True
        if part.digest == self._pulled.digest(entity):
            self._suspected.pop(entity, None)
            if self._pulled.may_have_lost(entity):
                await self._pulled.compared(entity, "")
            return True
        hellos = self._suspected.setdefault(entity, self._greeted())
        if self._greeted() == hellos:
            self._check.ring()  # the hello that follows rings for the next pass
            return True
        return await self._repair(entity, "")

    async def _repair(self, entity: str, cursor: str) -> bool:
        """Compares the buckets that differ, and fetches what is missing. False: the hub did not answer."""
        lost = self._pulled.may_have_lost(entity)
        log.warning(
            "entity «%s» is not what the hub has%s: comparing",
            entity,
            ", which was put back" if lost else "",
        )
        sums, more, found = self._pulled.sums(entity), True, Repaired()
        while more:
            question = Buckets(entity, sums)
            reply = await self._asking.ask(partial(self._hub.buckets, question))
            if reply is None:
                return False
            if reply.differing:
                found = found.and_then(
                    await self._pulled.reconcile(entity, reply.differing, lost=lost)
                )
            for bucket, rows in reply.differing.items():  # what still differs is on its way
                sums[bucket] = sum(row.mark for row in rows) % 2**64
            more = reply.more
        if not await self._fetch(entity):
            return False
        await self._pulled.compared(entity, cursor)
        self._suspected.pop(entity, None)
        if found != Repaired():
            meta: Meta = {"entity": entity, "put_back": lost, **msgspec.structs.asdict(found)}
            words = f"{found.wanted} fetched, {found.dropped} dropped, {found.again} sent again"
            await self._tell(REPAIRED, f"rows of «{entity}»: {words}", meta)
        return True

    async def _log_rows(self, entity: str, rows: Sequence[SharedRow]) -> None:
        if rows:
            size = sum(len(bytes(row.body)) for row in rows)
            await self._log.pulled_rows(entity, len(rows), size)

    async def _fetch(self, entity: str) -> bool:
        """Rows that are wanted whole. False: the hub did not answer."""
        while ids := self._pulled.wanted(entity, WANTED):
            part = await self._asking.ask(partial(self._hub.wanted, RowsWanted(entity, list(ids))))
            if part is None:
                return False
            if part.more and part.rows:
                ids = {row_id: rev for row_id, rev in ids.items() if row_id <= part.rows[-1].id}
            self._asking.count(rows=len(part.rows))
            await self._pulled.take_whole(entity, part.rows, ids)
            await self._log_rows(entity, part.rows)
        return True
