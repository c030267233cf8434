"""What a row lane has to send: frozen edits of shared rows, one frame in a unit, so that no more than a batch is on its way.

As `feeds.StateFeed`, a lane begins after what the hub has answered, even when the hub is ahead: only the answer says
what became of the edits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.kit.bell import Bell
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import Decision, Held, HubWentBack
from skerry.node.sync.feeds import Outgoing
from skerry.node.sync.pace import CONFLICT, Tell, untold
from skerry.wire.codec import decode
from skerry.wire.records import Meta
from skerry.wire.shared import EditFrame, Judged, judged_of
from skerry.wire.sync import Lane, LanePoint, PushReply, PushUnit

_MAX_FRAMES = 1000

_EVENTS = 100
"""So many edits of a frame are told one by one."""

_WORDS = {
    "merged": "this node's edit and another were put together",
    "lost": "another version stands, this node's edit is in the hub's history",
    "conflict": "this node's edit waits for a person",
}


class RowFeed:
    """One row lane. `changed` rings when there may be something new in any of them, `news` is rung for the next pull."""

    def __init__(  # noqa: PLR0913 - the store's three rooms, and whose units these are
        self,
        lane: Lane,
        linger: float,
        frames: SharedFrames,
        pulled: SharedPulled,
        store: NodeStore,
        changed: Bell,
        *,
        news: Bell,
        boot_id: str,
        tell: Tell = untold,
    ) -> None:
        self.lane = lane
        self._tell = tell
        self.linger = linger
        self._frames = frames
        self._pulled = pulled
        self._store = store
        self._changed = changed
        self._news = news
        self._boot_id = boot_id
        self._hub = LanePoint()
        self._sent = LanePoint()
        self._frame = b""

    @property
    def bell(self) -> Bell:
        return self._changed

    async def load(self) -> LanePoint:
        return await self._frames.point(self.lane)

    async def held(self, hub: LanePoint, acknowledged: LanePoint) -> Held:
        saved = await self.load()
        waiting = await self._frames.frames(self.lane, saved.n, _MAX_FRAMES)
        return Held(
            base=saved,
            head=LanePoint(waiting[-1].n, waiting[-1].chain) if waiting else saved,
            acknowledged=acknowledged,
            at_hub=await self.point_at(hub.n),
        )

    async def resume(self, decision: Decision) -> LanePoint:
        self._hub = decision.after
        if isinstance(decision, HubWentBack):
            await self._pulled.hub_went_back()
        return await self.load()

    async def unit(self, after: LanePoint) -> Outgoing | None:  # noqa: ARG002 - of which the answer may be missing
        last = await self.load()
        waiting = await self._frames.frames(self.lane, last.n, 1)
        if not waiting and await self._frames.freeze(self.lane):
            waiting = await self._frames.frames(self.lane, last.n, 1)
        if not waiting:
            return None
        frame = waiting[0]
        self._sent, self._frame = LanePoint(frame.n, frame.chain), frame.body
        unit = PushUnit(
            incarnation=self._store.incarnation,
            lane=self.lane,
            first=frame.n,
            previous=frame.previous,
            boot_id=self._boot_id,
            frames=[msgspec.Raw(frame.body)],
            skipped=frame.n > self._hub.n + 1,
        )
        return Outgoing(unit, self._sent, more=await self._frames.has_more(self.lane))

    async def point_at(self, n: int) -> LanePoint | None:
        chain = await self._frames.chain(self.lane, n)
        return None if chain is None else LanePoint(n, chain)

    async def confirm(self, reply: PushReply) -> None:
        judged = judged_of(reply.judged)
        await self._frames.acknowledge(self.lane, self._sent, reply.revs, judged)
        self._hub = reply.point
        if self._pulled.wants_any():
            self._news.ring()  # what came while this answer was on its way: the schedule is far off
        if judged:
            await self._tell_of(judged)

    async def _tell_of(self, judged: Sequence[Judged]) -> None:
        """Edits that met others, one event each; of very many at once the rest together."""
        frame = decode(self._frame, EditFrame, f"frame of lane «{self.lane}»")
        met = [each for each in judged if each.outcome != "whole"]
        for each in met[:_EVENTS]:
            row = frame.edits[each.index].id
            words = f"row «{row}» of «{frame.entity}»: {_WORDS[each.outcome]}"
            meta: Meta = {"entity": frame.entity, "row": row, "outcome": each.outcome}
            await self._tell(CONFLICT, words, meta)
        if rest := met[_EVENTS:]:
            counts = {name: sum(each.outcome == name for each in rest) for name in _WORDS}
            words = f"{len(rest)} more rows of «{frame.entity}»"
            await self._tell(CONFLICT, words, {"entity": frame.entity, **counts})

    async def save(self, acknowledged: LanePoint) -> None:
        """Nothing to do: `confirm` has saved it together with the rows."""

    async def failing(self, unit: PushUnit) -> None:
        await self._frames.failing(self.lane, unit.first)
