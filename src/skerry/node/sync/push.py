"""Pushing one lane: the next unit, the hub's answer, and what an answer means for the next unit.

Each lane has a `LanePush` and a task of its own, so that a slow or refused lane never holds up another.
Whatever cannot be settled by the lane alone ends `run`: `session` then says hello and starts it again from
the point that `decide` finds.
"""

from __future__ import annotations

import asyncio
import logging
import random

from skerry.kit.backoff import Backoff
from skerry.kit.bell import Bell
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.tasks import Guard
from skerry.node.ports import Uplink
from skerry.node.store.sync_log import Attempt, SyncLog
from skerry.node.sync.feeds import Feed, Outgoing
from skerry.node.sync.pace import PARKED, RESUMED, Pace, Tell, untold
from skerry.wire.local import LaneCounters
from skerry.wire.records import Meta
from skerry.wire.sync import LanePoint, PushReply

log = logging.getLogger(__name__)

STUMBLED = Backoff(first=0.1, cap=1.5)
SAVE_EVERY = 30 * NS


class LanePush:
    """One lane on its way to the hub. `acknowledged` is what the hub durably holds, as far as we know."""

    def __init__(  # noqa: PLR0913 - both ends, time, and who hears of it
        self,
        feed: Feed,
        uplink: Uplink,
        clock: Clock,
        chance: random.Random,
        *,
        pace: Pace,
        log: SyncLog,
        counts: LaneCounters | None = None,
        tell: Tell = untold,
    ) -> None:
        self.feed = feed
        self.counts = counts or LaneCounters()
        self._tell = tell
        self._hurried = Bell()
        self._pace = pace
        self._log = log
        self.acknowledged = LanePoint()
        self.settled = LanePoint()
        """How far answers have been taken over, which takes a moment longer."""
        self.backed_up = 0
        """Up to which number the hub has this lane in a backup, as it said last."""
        self.refusals = 0
        self.last_success = 0
        self._uplink = uplink
        self._clock = clock
        self._chance = chance
        self._guard = Guard(f"pushing lane «{feed.lane}»", clock, chance)
        self._after = LanePoint()
        self._due = 0
        self._refusal = ""
        self._stumble = ""
        self._stumbles = 0
        self._trouble = ""
        self._untaken: tuple[PushReply, Outgoing] | None = None
        """An answer that was not taken over, as on a full disk: that is tried again, and the hub not asked."""
        self._saved = LanePoint()
        self._saved_at = 0

    @property
    def problem(self) -> str:
        """Why this lane is not sent although the hub answers; empty when it is."""
        broken = f"cannot push lane «{self.feed.lane}»: the node's log says why"
        return self._refusal or self._trouble or (broken if self._guard.failures else "")

    @property
    def parked(self) -> bool:
        """Whether the next unit was refused so often that it waits for the schedule or a new connection."""
        return self._pace.has_failed(self.refusals)

    def hurry(self) -> None:
        """What was refused is tried now."""
        if self.refusals:
            self._due = 0
            self._hurried.ring()

    @property
    def failures(self) -> int:
        """Tries in a row that failed: the hub refused the unit, or could not take it now."""
        return max(self.refusals, self._stumbles)

    async def load(self) -> None:
        """Takes up the saved acknowledgement."""
        self.acknowledged = self.settled = self._saved = await self.feed.load()

    async def run(self, after: LanePoint) -> str:
        """Pushes what follows `after` until only a hello can help; returns why."""
        self._after = self.acknowledged = self.settled = after
        self._stumble, self._untaken = "", None
        if self.parked:
            self._due = 0
        if self._stumbles:
            delay = STUMBLED.delay(self._stumbles, self._chance)
            self._due = max(self._due, self._now() + int(delay * NS))
        while not self._stumble:
            await self._guard.run(self._pass)
        self._stumbles += 1
        return self._stumble

    async def save(self) -> None:
        """Keeps the acknowledgement over a restart; losing it only makes the hub answer a repeat."""
        if self.acknowledged != self._saved:
            await self.feed.save(self.acknowledged)
            self._saved, self._saved_at = self.acknowledged, self._now()
        await self._log.flush(self.feed.lane)

    async def _pass(self) -> None:
        if self._untaken is not None:
            untaken, self._untaken = self._untaken, None
            await self._answered(*untaken)
            return
        await self._until_due()
        seen = self.feed.bell.count
        outgoing = await self.feed.unit(self._after)
        if outgoing is None:
            self._trouble = ""
            await self.feed.bell.after(seen)
            return
        self._due = 0 if outgoing.more else self._now() + int(self.feed.linger * NS)
        if outgoing.meanwhile is None:
            await self._send(outgoing)
            return
        meanwhile = asyncio.create_task(outgoing.meanwhile())
        try:
            await self._send(outgoing, meanwhile)
        finally:
            await asyncio.gather(meanwhile, return_exceptions=True)

    async def _send(self, outgoing: Outgoing, meanwhile: asyncio.Task[None] | None = None) -> None:
        """What is done meanwhile comes before the answer is taken over."""
        try:
            reply = await self._uplink.push(outgoing.unit)
        except Transient as error:
            self._stumble = self._trouble = str(error)
            self.counts.cuts += 1
            await self._log.cut(self._attempt(outgoing), self._after.n, str(error))
        except (Refused, InvalidInput) as error:
            await self._refused(str(error), outgoing)
        else:
            await self._answered(reply, outgoing, meanwhile)

    async def _until_due(self) -> None:
        while (left := self._due - self._now()) > 0:
            if self.refusals:
                await self._hurried.within(self._hurried.count, left / NS, self._clock)
            else:
                await self._clock.sleep(left / NS)

    async def _answered(
        self, reply: PushReply, outgoing: Outgoing, meanwhile: asyncio.Task[None] | None = None
    ) -> None:
        if await self._is_ours(reply, outgoing):
            try:
                if meanwhile is not None:
                    await meanwhile
                await self.feed.confirm(reply)
            except Transient:
                self._untaken = (reply, outgoing)
                raise
            await self._went(reply, outgoing)

    async def _is_ours(self, reply: PushReply, outgoing: Outgoing) -> bool:
        """Whether the hub has taken the unit, and nothing else in its place."""
        lane, point = self.feed.lane, reply.point
        if reply.outcome != "ok":
            self._stumble = f"lane «{lane}»: {reply.outcome} at {point.n}"
            return False
        # A hub that is further than this unit may have been told so by a clone of this node.
        ours = point == outgoing.through or await self.feed.point_at(point.n) == point
        if point.n < outgoing.through.n or not ours:
            self._stumble = f"lane «{lane}»: the hub is at {point.n} of another history"
            return False
        self.acknowledged = point  # at once: a hello meanwhile must see what the hub has promised
        self.backed_up = reply.backed_up_through
        return True

    async def _went(self, reply: PushReply, outgoing: Outgoing) -> None:
        lane, point = self.feed.lane, reply.point
        attempt = self._attempt(outgoing)
        self.counts.units += 1
        self.counts.records += point.n - self._after.n
        self._after = point
        was_parked, self._refusal, self._trouble = self.parked, "", ""
        self.refusals = self._stumbles = 0
        self.last_success = self._clock.wall_ns()
        await self._log.pushed(attempt)
        if was_parked:
            await self._tell(RESUMED, f"lane «{lane}»", {"lane": lane, "attempts": attempt.tries})
        self.settled = point
        if self._now() - self._saved_at >= SAVE_EVERY:
            await self.save()

    def _attempt(self, outgoing: Outgoing) -> Attempt:
        unit = outgoing.unit
        size = sum(memoryview(frame).nbytes for frame in unit.frames)
        tries = 1 + self.refusals + self._stumbles
        return Attempt(self.feed.lane, unit.first, outgoing.through.n, size, tries)

    async def _refused(self, cause: str, outgoing: Outgoing) -> None:
        attempt = self._attempt(outgoing)
        self.refusals += 1
        self.counts.refusals += 1
        self._refusal = cause
        delay = self._pace.delay(self.refusals, self._chance)
        self._due = self._now() + int(delay * NS)
        failed = self._pace.has_failed(self.refusals)
        await self._log.refused(attempt, delay, cause, failed=failed)
        if failed:
            await self.feed.failing(outgoing.unit)
        log.warning(
            "the hub refused a unit of lane «%s» (%d in a row), next try in %.0f s: %s",
            self.feed.lane,
            self.refusals,
            delay,
            cause,
        )
        if self.refusals == self._pace.attempts:
            lane = self.feed.lane
            meta: Meta = {
                "lane": lane,
                "first": attempt.first,
                "last": attempt.last,
                "attempts": self.refusals,
            }
            await self._tell(PARKED, f"lane «{lane}»: {cause}", meta)

    def _now(self) -> int:
        return self._clock.monotonic_ns()
