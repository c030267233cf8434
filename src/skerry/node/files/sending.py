"""Takes files to the hub, the oldest first, one at a time: the hub says which bytes it wants, until it has all of them.

A cut costs one question; what the hub has is not sent again. A file that the hub does not take waits, and lets the
others pass. Nothing is given up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from skerry.kit.backoff import Backoff
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Corrupt, InvalidInput, Refused, Transient
from skerry.kit.pace import Pace
from skerry.kit.tasks import Guard
from skerry.node.files.chunks import AVERAGE, manifest_of
from skerry.node.files.store import FileStore
from skerry.node.ports import FileHub
from skerry.node.store.files import FileRow, Moment
from skerry.wire.files import MAX_ASKED, FileState

log = logging.getLogger(__name__)

AGAIN = Backoff(first=0.05, cap=1.5)
"""After a cut."""

REFUSED = Backoff(first=10.0, cap=3600.0)
"""After a no."""

_IDLE, _SOON = 5.0, 0.25
"""Seconds between two looks for something to send, and while a file waits for its record to arrive first."""

_TIDY_EVERY = 600 * NS
_LOOKED_AT = 64
_LEAST = 64 * 1024


class Way(msgspec.Struct, frozen=True):
    """Whether the hub can be reached; `changed` rings when that is another."""

    connected: Callable[[], bool]
    changed: Callable[[], int]


class Parked(msgspec.Struct, frozen=True):
    """Who hears of a file that the hub has refused so often in a row: its name and the cause."""

    after: int
    tell: Callable[[str, str], Awaitable[None]]


class _Wait(msgspec.Struct):
    failures: int
    until: int


class FileSending:
    """Runs for ever under the caller's tasks. `piece` is the most bytes of one request, where the link is limited."""

    def __init__(  # noqa: PLR0913 - what is sent, by which way, how fast, and who hears of it
        self,
        store: FileStore,
        hub: FileHub,
        way: Way,
        pace: Pace,
        clock: Clock,
        chance: random.Random,
        *,
        piece: int | None = None,
        parked: Parked | None = None,
    ) -> None:
        self._piece = piece
        self._parked = parked
        self._store = store
        self._hub = hub
        self._way = way
        self._pace = pace
        self._clock = clock
        self._chance = chance
        self._waits: dict[str, _Wait] = {}
        self._cuts = 0
        self._reached = ("", 0)
        self._compared = -1
        self._not_compared = 0
        self._tidied_at = 0
        self.problem = ""
        """Why nothing gets through at the moment."""

    async def run(self) -> None:
        guard = Guard("sending files", self._clock, self._chance)
        while True:
            await guard.run(self.once)

    async def once(self) -> None:
        """Sends one file, or waits until there may be one to send."""
        seen = self._store.changed.count
        await self._tidy()
        pause = _IDLE
        if self._way.connected():
            if not await self._compare():
                return
            rows = self._store.rows.waiting(_LOOKED_AT)
            chosen = next(filter(self._may_be_sent, rows), None)
            if chosen is not None:
                await self._send(chosen)
                return
            pause = _SOON if rows else _IDLE
        await self._store.changed.within(seen, pause, self._clock)

    def _may_be_sent(self, row: FileRow) -> bool:
        """Its record goes first. A number that this lane never had is of another life of the record store."""
        lane = self._store.lane
        acknowledged, wait = lane.acknowledged(), self._waits.get(row.sha256)
        if wait is not None and self._clock.monotonic_ns() < wait.until:
            return False
        return min(row.n, lane.head()) <= acknowledged

    async def _send(self, row: FileRow) -> None:
        try:
            await self._bring(row)
        except Transient as error:
            self._cuts += 1
            self.problem = str(error)
            await self._clock.sleep(AGAIN.delay(self._cuts, self._chance))
        except (Refused, InvalidInput) as error:
            failures = self._waits[row.sha256].failures + 1 if row.sha256 in self._waits else 1
            delay = REFUSED.delay(failures, self._chance)
            self._waits[row.sha256] = _Wait(failures, self._clock.monotonic_ns() + int(delay * NS))
            self.problem = str(error)
            if failures.bit_count() == 1:
                log.warning("%s; next try in %.0f s", error, delay)
            if self._parked is not None and failures == self._parked.after:
                await self._parked.tell(row.sha256, str(error))
        except Corrupt as error:
            await self._store.set_aside(row, error)
        else:
            self._waits.pop(row.sha256, None)
            self._cuts, self.problem = 0, ""

    async def _bring(self, row: FileRow) -> None:
        read = partial(self._store.read, row)
        state = FileState(row.sha256, complete=False, manifest=True)
        if row.size > AVERAGE:
            state = await self._hub.file_state(row.sha256)
        if state.manifest:
            manifest = await asyncio.to_thread(manifest_of, row.sha256, row.size, read)
            state = await self._hub.offer_file(manifest)
        self._note_progress(state)
        while not state.complete:
            if state.manifest:
                raise Transient(f"cannot go on with file {row.sha256[:12]}…: the hub begins anew")
            data = await asyncio.to_thread(read, state.start, self._size(state.end - state.start))
            state = await self._hub.send_file(row.sha256, state.start, data)
            self._note_progress(state)
            await self._pace.spend(len(data))
        if self._way.changed() != self._compared:
            return  # by now it may be a hub that was put back: were this the last one sent, it would have all of them
        # A backup of the hub that has the next record was taken after the content had arrived.
        following = self._store.lane.head() + 1
        await self._store.rows.sent(row.sha256, Moment.now(self._clock), following)

    def _note_progress(self, state: FileState) -> None:
        reached = (state.sha256, state.start)
        if reached != self._reached:
            self._reached, self._cuts = reached, 0

    def _size(self, wanted: int) -> int:
        """With a cap, about a second's worth at a time, so that the rate is not a series of bursts."""
        if self._piece is not None:
            wanted = min(wanted, self._piece)
        return wanted if self._pace.rate is None else min(wanted, max(_LEAST, self._pace.rate))

    async def _compare(self) -> bool:
        """After each new connection: a hub that lacks what it got last was put back, and says what else it lacks.

        False: it has not answered. Until it has, nothing may be sent, since that would be what it got last.
        """
        connection = self._way.changed()
        if connection == self._compared:
            return True
        try:
            last, since = self._store.rows.last_sent(), self._store.young_from()
            asked = [last.sha256] if last is not None and last.sent_no >= since else []
            if asked and not await self._hub.files_held(asked):
                await self._ask_for_all(since)
        except (Transient, Refused, InvalidInput) as error:
            self._not_compared += 1
            self.problem = str(error)
            log.info("%s", error)
            backoff = AGAIN if isinstance(error, Transient) else REFUSED
            await self._clock.sleep(backoff.delay(self._not_compared, self._chance))
            return False
        if self._not_compared:
            self._not_compared, self.problem = 0, ""
        self._compared = connection
        return True

    async def _ask_for_all(self, since: int) -> None:
        """What it got last is asked for last, so that a cut in between makes it begin anew."""
        after, lost = since - 1, 0
        while asked := self._store.rows.sent_after(after, MAX_ASKED):
            after = asked[-1].sent_no
            names = [row.sha256 for row in asked]
            held = await self._hub.files_held(names)
            await self._store.rows.lost(one for one in names if one not in held)
            lost += len(names) - len(held)
        log.warning("the hub lost %d files; sending them again", lost)

    async def _tidy(self) -> None:
        now = self._clock.monotonic_ns()
        if now - self._tidied_at > _TIDY_EVERY or not self._tidied_at:
            self._tidied_at = now
            await self._store.drop_unnamed()
