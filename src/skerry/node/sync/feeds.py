"""What the lanes have to send: record lanes from the segments, the state lane from outbox and frozen frames.

`push` asks for the next unit and reports what the hub acknowledged; `session` asks for what is held, to
compare it with the hub. Units of a record lane need no freezing: segments are immutable, so the same
numbers are the same bytes for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.node.store.records import RecordStore
from skerry.node.store.state import FrozenFrame, NodeStore
from skerry.node.sync.decide import Decision, Held, HubWentBack
from skerry.wire.sync import Lane, LanePoint, PushReply, PushUnit

MAX_RECORDS = 2000
MAX_BYTES = 512 * 1024
MAX_ROWS = 500
_MAX_FRAMES = 1000


class Outgoing(msgspec.Struct, frozen=True):
    """A unit, the point that the lane will have reached with it, and whether more is waiting behind it.

    `meanwhile` is to be done while it is on its way: something short.
    """

    unit: PushUnit
    through: LanePoint
    more: bool
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None


class Feed(Protocol):
    """One lane's supply. `linger` is the least time between two units while there is no backlog, in seconds."""

    lane: Lane
    linger: float

    @property
    def bell(self) -> Bell:
        """Rings when there may be something new."""
        ...

    async def load(self) -> LanePoint:
        """The acknowledgement as last saved; may lag behind what the hub holds."""
        ...

    async def held(self, hub: LanePoint, acknowledged: LanePoint) -> Held:
        """What is here, to be compared with the hub's point."""
        ...

    async def resume(self, decision: Decision) -> LanePoint:
        """Makes ready for sending again after a hello; returns the point after which the next unit starts."""
        ...

    async def unit(self, after: LanePoint) -> Outgoing | None:
        """The next unit, or None when everything has been sent."""
        ...

    async def point_at(self, n: int) -> LanePoint | None:
        """Our own point at number `n`, when it is known."""
        ...

    async def confirm(self, reply: PushReply) -> None:
        """The hub durably holds everything up to the reply's point. May be repeated after Transient: there was no room."""
        ...

    async def save(self, acknowledged: LanePoint) -> None:
        """Keeps an acknowledgement over a restart."""
        ...

    async def failing(self, unit: PushUnit) -> None:
        """The hub has refused the unit so often that it counts as failed; it is tried on."""
        ...


class RecordFeed:
    """A record lane. The store is told what is acknowledged, because only that may ever be freed.

    A unit has `most` bytes before compression, unless a single frame is larger.
    """

    def __init__(
        self,
        lane: Lane,
        linger: float,
        records: RecordStore,
        store: NodeStore,
        *,
        most: int = MAX_BYTES,
    ) -> None:
        self.lane = lane
        self.linger = linger
        self._records = records
        self._store = store
        self._most = most

    @property
    def bell(self) -> Bell:
        return self._records.bell

    async def load(self) -> LanePoint:
        saved = await self._store.lane(self.lane)
        self._records.acknowledge(self.lane, saved.n)
        return saved

    async def held(self, hub: LanePoint, acknowledged: LanePoint) -> Held:
        at_hub = await self.point_at(hub.n)
        own = await self.point_at(acknowledged.n)
        base = self._records.base(self.lane)
        return Held(
            base=base,
            head=self._records.head(self.lane),
            acknowledged=acknowledged if own in (None, acknowledged) else base,
            at_hub=acknowledged if at_hub is None and hub.n == acknowledged.n else at_hub,
        )

    async def resume(self, decision: Decision) -> LanePoint:
        self._records.acknowledge(self.lane, decision.after.n)
        return decision.after

    async def unit(self, after: LanePoint) -> Outgoing | None:
        if self._records.head(self.lane).n <= after.n:
            return None
        span = await asyncio.to_thread(
            self._records.read, self.lane, after.n, MAX_RECORDS, self._most
        )
        if span is None:
            return None
        unit = PushUnit(
            incarnation=self._store.incarnation,
            lane=self.lane,
            first=span.first,
            previous=span.previous,
            boot_id=span.boot_id,
            frames=[msgspec.Raw(frame.payload) for frame in span.frames],
            skipped=span.first > after.n + 1,
        )
        return Outgoing(unit, span.point, more=self._records.head(self.lane).n > span.last)

    async def point_at(self, n: int) -> LanePoint | None:
        chain = await asyncio.to_thread(self._records.point_at, self.lane, n)
        return None if chain is None else LanePoint(n, chain)

    async def confirm(self, reply: PushReply) -> None:
        self._records.acknowledge(self.lane, reply.point.n)

    async def save(self, acknowledged: LanePoint) -> None:
        await self._store.set_lane(self.lane, acknowledged)

    async def failing(self, unit: PushUnit) -> None:
        """Nothing to do: a record has no status of its own."""


class StateFeed:
    """The state lane. Starts at the saved acknowledgement even when the hub is ahead, for the hub's rows.

    All rows go out once in every process, and again when the hub lost frames: those are gone here too. A store
    that was put back may agree with a hub that was put back as well and has heard later rows of ours since.
    """

    lane: Lane = "state"

    def __init__(self, linger: float, store: NodeStore, boot_id: str) -> None:
        self.linger = linger
        self._store = store
        self._boot_id = boot_id
        self._hub = LanePoint()
        self._has_said_all = False

    @property
    def bell(self) -> Bell:
        return self._store.state_changed

    async def load(self) -> LanePoint:
        return await self._store.lane(self.lane)

    async def held(self, hub: LanePoint, acknowledged: LanePoint) -> Held:
        saved = await self.load()  # may have moved on since `acknowledged` was noted
        waiting = await self._store.frozen(saved.n, _MAX_FRAMES)
        return Held(
            base=saved,
            head=_end(waiting) if waiting else saved,
            acknowledged=acknowledged,
            at_hub=await self.point_at(hub.n),
        )

    async def resume(self, decision: Decision) -> LanePoint:
        self._hub = decision.after
        if isinstance(decision, HubWentBack) or not self._has_said_all:
            await self._store.requeue_state()
            self._has_said_all = True
        return await self.load()

    async def unit(self, after: LanePoint) -> Outgoing | None:
        waiting = await self._store.frozen(after.n, _MAX_FRAMES)
        if not waiting and await self._store.freeze(MAX_ROWS):
            waiting = await self._store.frozen(after.n, _MAX_FRAMES)
        if not waiting:
            return None
        unit = PushUnit(
            incarnation=self._store.incarnation,
            lane=self.lane,
            first=waiting[0].n,
            previous=waiting[0].previous,
            boot_id=self._boot_id,
            frames=[msgspec.Raw(frame.body) for frame in waiting],
            skipped=waiting[0].n > self._hub.n + 1,
        )
        return Outgoing(unit, _end(waiting), more=await self._store.unsent() > len(waiting))

    async def point_at(self, n: int) -> LanePoint | None:
        chain = await self._store.state_chain(n)
        return None if chain is None else LanePoint(n, chain)

    async def confirm(self, reply: PushReply) -> None:
        await self._store.acknowledge_state(reply.point, reply.rows)
        self._hub = reply.point

    async def save(self, acknowledged: LanePoint) -> None:
        """Nothing to do: `confirm` has saved it together with the rows."""

    async def failing(self, unit: PushUnit) -> None:
        """Nothing to do, as for records."""


def _end(frames: Sequence[FrozenFrame]) -> LanePoint:
    return LanePoint(frames[-1].n, frames[-1].chain)
