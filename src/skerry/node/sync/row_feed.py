"""What a row lane has to send: frozen edits of shared rows, one frame in a unit, so that no more than a batch is on its way.

As `feeds.StateFeed`, a lane begins after what the hub has answered, even when the hub is ahead: only the answer says
what became of the edits. In a backlog the hub and this node work at the same time: while a unit is on its way, the answer
to the one before is taken over and the next frame frozen.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.errors import Transient
from skerry.node.store.shared_frames import MAX_FRAME, SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.state import NodeStore
from skerry.node.sync.decide import Decision, Held, HubWentBack
from skerry.node.sync.feeds import Outgoing
from skerry.node.sync.pace import CONFLICT, Tell, untold
from skerry.wire.codec import decode, encode
from skerry.wire.records import Meta
from skerry.wire.shared import Edit, EditFrame, Judged, judged_of
from skerry.wire.sync import Lane, LanePoint, PushReply, PushUnit

_MAX_FRAMES = 1000

_EVENTS = 100
"""So many edits of a frame are told one by one."""

_Note = tuple[str, Meta]
"""An event: its words, and more."""

_WORDS = {
    "merged": "this node's edit and another were put together",
    "lost": "another version stands, this node's edit is in the hub's history",
    "conflict": "this node's edit waits for a person",
}


class _Answer(msgspec.Struct, frozen=True):
    """The hub's, to the frame at `point`."""

    point: LanePoint
    revs: list[int]
    judged: list[Judged]
    frame: bytes
    """The frame's, where something is judged."""


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
        most: int = MAX_FRAME,
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
        self._most = most
        self._answer: _Answer | None = None
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
        self._hub, self._answer = decision.after, None
        if isinstance(decision, HubWentBack):
            await self._pulled.hub_went_back()
        if untold := await self._frames.untold(self.lane):  # the agent ended before it had told it
            await self._tell_all(decode(untold.encode(), list[_Note], "what is to be told"))
        return await self.load()

    async def unit(self, after: LanePoint) -> Outgoing | None:  # noqa: ARG002 - of which the answer may be missing
        self._frames.await_edit(self.lane, 0)
        last = await self.load() if self._answer is None else self._answer.point
        waiting = await self._frames.frames(self.lane, last.n, 1)
        if not waiting and await self._frames.freeze(self.lane, self._most):
            waiting = await self._frames.frames(self.lane, last.n, 1)
        if not waiting:
            self._frames.await_edit(self.lane, self._most)
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
        has_next = await self._frames.has_after(self.lane, frame.n)
        more = has_next or await self._frames.has_waiting(self.lane)
        idle = self._answer is None and (has_next or not more)
        return Outgoing(unit, self._sent, more, None if idle else self._go_on)

    async def _go_on(self) -> None:
        """Takes over the answer that is here, and freezes the next frame unless there is one."""
        answer, self._answer = self._answer, None
        freeze = not await self._frames.has_after(
            self.lane, self._sent.n
        ) and await self._frames.has_waiting(self.lane)
        if answer is not None:
            notes = self._notes(answer) if answer.judged else []
            try:
                await self._frames.acknowledge(
                    self.lane,
                    answer.point,
                    answer.revs,
                    answer.judged,
                    freeze=self._most if freeze else 0,
                    untold=encode(notes).decode() if notes else "",
                )
            except Transient:  # a full disk: it is taken over later
                self._answer = answer
                raise
            if self._pulled.wants_any() or any(one.outcome == "conflict" for one in answer.judged):
                # What has come meanwhile, or has been decided, is not known of before: the schedule is far off.
                self._news.ring()
            if notes:
                await self._tell_all(notes)
        elif freeze:
            await self._frames.freeze(self.lane, self._most)

    async def point_at(self, n: int) -> LanePoint | None:
        chain = await self._frames.chain(self.lane, n)
        return None if chain is None else LanePoint(n, chain)

    async def confirm(self, reply: PushReply) -> None:
        if self._answer is not None and self._answer.point != self._sent:
            await self._go_on()
        if self._answer is None:
            judged = judged_of(reply.judged)
            frame = self._frame if judged else b""
            self._answer, self._frame = _Answer(self._sent, reply.revs, judged, frame), b""
        if not await self._frames.has_after(self.lane, self._sent.n):
            await self._go_on()
        self._hub = reply.point

    def _notes(self, answer: _Answer) -> list[_Note]:
        """Edits that met others, one event each; of very many at once the rest together."""
        frame = decode(answer.frame, EditFrame, f"frame of lane «{self.lane}»")
        met = [each for each in answer.judged if _has_met(frame.edits[each.index], each)]
        notes: list[_Note] = []
        for each in met[:_EVENTS]:
            row = frame.edits[each.index].id
            words = f"row «{row}» of «{frame.entity}»: {_WORDS[each.outcome]}"
            notes.append((words, {"entity": frame.entity, "row": row, "outcome": each.outcome}))
        if rest := met[_EVENTS:]:
            counts = {name: sum(each.outcome == name for each in rest) for name in _WORDS}
            words = f"{len(rest)} more rows of «{frame.entity}»"
            notes.append((words, {"entity": frame.entity, **counts}))
        return notes

    async def _tell_all(self, notes: Sequence[_Note]) -> None:
        """What the agent's end interrupts is told again after its start, rather than not at all."""
        for words, meta in notes:
            await self._tell(CONFLICT, words, meta)
        await self._frames.told(self.lane)

    async def save(self, acknowledged: LanePoint) -> None:
        """Nothing to do: it is saved together with the rows."""

    async def failing(self, unit: PushUnit) -> None:
        await self._frames.failing(self.lane, unit.first)


def _has_met(edit: Edit, judged: Judged) -> bool:
    """Whether the edit met another one: not where the other side says the same, as of two nodes that declare alike."""
    row = judged.row
    if judged.outcome != "lost" or row is None:
        return judged.outcome != "whole"
    if row.deleted or edit.kind == "delete":
        return row.deleted != (edit.kind == "delete")
    return edit.kind == "patch" or bool(row.base) or bytes(edit.body) != bytes(row.body)
