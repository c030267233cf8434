"""Pulling shared rows: changes of each entity by its cursor, rows that are missing by their ids, and the repair of differences.

At news, after every hello, and now and then. When an entity is complete, the digests of both sides are compared. One
that differs is looked at again after another hello, since only a hello tells that the hub was put back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.tasks import Guard
from skerry.node.ports import RowHub
from skerry.node.store.shared_pulled import Repaired, SharedPulled, Undecided
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.sync_log import SyncLog
from skerry.node.sync.asking import Asking
from skerry.node.sync.pace import REPAIRED, Pace, Tell, untold
from skerry.node.sync.row_schedule import RowSchedule
from skerry.wire.local import PullCounters
from skerry.wire.records import Meta
from skerry.wire.shared import (
    Buckets,
    Declaration,
    Priority,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
    SharedRow,
)

log = logging.getLogger(__name__)

PAGE = 4000
"""Rows in one answer at most; the hub ends it sooner where rows are large."""

PAGE_OF_LIMITED = 1000
"""The same over a link that is limited and that others wait for, too."""

LATE = Backoff(first=2.0, cap=600.0)
"""How soon an entity is compared of which something was unsent when the hub was asked after a hello."""

WANTED = 1000
"""Rows that are asked for by their ids at a time."""


class _Answer(msgspec.Struct, frozen=True):
    """The hub's. `undecided` is what waited for a person before it was asked, `seen` the count of local changes then."""

    page: RowsPage
    undecided: dict[str, Undecided]
    seen: int

    @property
    def goes_on(self) -> bool:
        """Whether it is all changes of which more follow: then nothing of it decides what is asked next."""
        parts = self.page.parts
        return bool(parts) and all(part.more and not part.repair for part in parts)


def _follow(cursors: dict[str, str], page: RowsPage) -> None:
    """Makes `cursors` those of what is asked next."""
    for part in page.parts:
        if part.more:
            cursors[part.entity] = part.cursor
        else:
            cursors.pop(part.entity, None)


class RowPull:
    """Takes over the hub's shared rows. `news` is rung by the live link and after each hello; `greeted` counts answered hellos.

    With a `priority` it pulls the entities of that class only.
    """

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
        limit: int = PAGE,
        tell: Tell = untold,
        schedule: RowSchedule | None = None,
        priority: Priority | None = None,
    ) -> None:
        self._limit = limit
        self._tell = tell
        self._log = log
        self._priority = priority
        self._schedule = schedule
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
        self._compared: dict[str, int] = {}
        """Hellos when the digests of an entity were last found equal, or made so."""
        self._late: set[str] = set()
        """Entities that were not compared since the last hello, for something of them is unsent."""
        self._rounds_late = 0
        self.last_success = self.begun = self.ended = 0

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

    @property
    def may_be_held(self) -> bool:
        """Whether its class waits while only high priority goes."""
        return self._priority not in {None, "high"}

    def hurry(self) -> None:
        """A pull that was refused is tried now."""
        self._asking.hurry()

    async def run(self) -> None:
        """Pulls at every ring, until cancelled."""
        seen, schedule = self._news.count - 1, self._schedule
        while True:
            seen = await self._news.within(seen, self._wait(), self._clock)
            if schedule is not None and schedule.come():
                self._rows.changed.ring()
                if self._priority is not None:
                    self._news.ring()  # for the other classes
            while not await self._guard.run(self._pass):
                seen = self._news.count

    def _wait(self) -> float:
        """Seconds until the next pull that nobody rings for: soon while an entity is to be compared after a hello."""
        self._rounds_late = self._rounds_late + 1 if self._late else 0
        usual = self._pace.pull_after(self._chance)
        if self._schedule is not None:
            usual = self._schedule.wait(usual)
        return min(usual, LATE.delay(self._rounds_late, self._chance)) if self._late else usual

    async def save(self) -> None:
        """Writes down what the log has not been told."""
        await self._log.flush_rows()

    async def _pass(self) -> None:
        """What is missing comes first: digests are compared after the changes."""
        self.begun += 1
        if await self._missing() and await self._changes() and await self._missing():
            self._asking.count(rounds=1)
            self.ended = self.begun
            self.last_success = self._clock.wall_ns()

    async def _changes(self) -> bool:
        """All changes of all entities; False: the hub did not answer."""
        held = self._pulled.cursors()
        cursors = {entity: held[entity] for entity in self._mine() if self._is_due(entity)}
        asked = list(cursors)
        with self._rows.deletions.noted(asked):
            if not await self._follow_all(cursors):
                return False
        if self._schedule is not None:
            self._schedule.pulled(asked)
        return True

    async def _follow_all(self, cursors: dict[str, str]) -> bool:
        """All changes after these cursors; False: the hub did not answer."""
        while cursors:
            answer = await self._ask(cursors)
            while answer is not None and answer.goes_on:
                answer = await self._take_and_ask(answer, cursors)
            if answer is None or not await self._take_all(answer):
                return False
            if not answer.page.parts:
                break
            _follow(cursors, answer.page)
        return True

    async def _ask(self, cursors: Mapping[str, str]) -> _Answer | None:
        seen = self._rows.changed.count
        undecided = {entity: self._pulled.undecided(entity) for entity in cursors}
        page = await self._asking.ask(partial(self._hub.rows, self._question(cursors)))
        if page is None:
            return None
        self._asking.count(rows=sum(len(part.rows) for part in page.parts))
        return _Answer(page, undecided, seen)

    async def _take_and_ask(self, answer: _Answer, cursors: dict[str, str]) -> _Answer | None:
        """The answer that follows one that goes on, which is taken over while the hub makes the next."""
        _follow(cursors, answer.page)
        asking = asyncio.create_task(self._ask(cursors))
        try:
            await self._take_all(answer)
            return await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _take_all(self, answer: _Answer) -> bool:
        # Where an entity has nothing new its cursor is all that is written: rows do not wait for that.
        for part in sorted(answer.page.parts, key=lambda part: not (part.rows or part.repair)):
            undecided = answer.undecided.get(part.entity, frozenset())
            if not await self._take(part, undecided, answer.seen):
                return False
        return True

    def _question(self, cursors: Mapping[str, str]) -> RowsPull:
        declared = self._rows.declared
        sizes = {entity: declared[entity].batch_size for entity in cursors if entity in declared}
        usual = Declaration().batch_size
        limits = {entity: size for entity, size in sizes.items() if size < usual}
        return RowsPull(dict(cursors), self._limit, limits=limits)

    def _is_due(self, entity: str) -> bool:
        return self._schedule is None or self._schedule.may_pull(entity)

    def _mine(self) -> list[str]:
        """The entities that are pulled here, urgent ones first."""
        declared = self._rows.declared.items()
        return [entity for entity, how in declared if self._priority in {None, how.priority}]

    async def _missing(self) -> bool:
        return all([await self._fetch(entity) for entity in self._mine()])

    async def _take(self, part: RowsPart, undecided: Undecided, seen: int) -> bool:
        """False: the hub did not answer. What was edited here or answered since `seen` is not in the hub's digest."""
        entity = part.entity
        if part.repair:
            if part.repair == "lost":
                await self._pulled.hub_went_back()
            return await self._repair(entity, part.cursor)
        await self._pulled.apply_part(part, undecided)
        await self._log_rows(entity, part.rows)
        if part.more or not part.digest:
            return True
        moved = seen != self._rows.changed.count or self._pulled.wanted(entity, 1)
        if moved or await self._rows.unsent(entity):
            if self._compared.get(entity) != self._greeted():
                self._late.add(entity)
            return True
        if part.digest == self._pulled.digest(entity):
            self._is_equal(entity)
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
        self._is_equal(entity)
        if found != Repaired():
            meta: Meta = {"entity": entity, "put_back": lost, **msgspec.structs.asdict(found)}
            words = f"{found.wanted} fetched, {found.dropped} dropped, {found.again} sent again"
            await self._tell(REPAIRED, f"rows of «{entity}»: {words}", meta)
        return True

    def _is_equal(self, entity: str) -> None:
        self._suspected.pop(entity, None)
        self._late.discard(entity)
        self._compared[entity] = self._greeted()

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
