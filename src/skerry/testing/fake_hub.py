"""A hub in memory for one node: decides as the real one does, fails at exactly the chosen call, goes back in time.

Implements `node.ports.Uplink` and `live_link.LiveSource`; `tests/contract/test_uplink.py` holds it against the
real hub. `fake_hub_server` puts it behind real sockets.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from skerry.core.cursors import Position, set_digest, sign, verify
from skerry.core.entities import ENTITIES, incoming_wins, node_may_write
from skerry.core.lanes import Admit, Diverged, Gap, admit
from skerry.kit.errors import Busy, InvalidInput, Refused, Transient
from skerry.kit.ids import random_token
from skerry.node.sync.live_link import Evicted
from skerry.wire.codec import decode
from skerry.wire.link import Message, News
from skerry.wire.records import Batch, Record
from skerry.wire.sync import (
    LANES,
    PROTOCOL,
    Hello,
    HelloReply,
    Lane,
    LanePoint,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
    StateFrame,
    StateRow,
)

NODE_ID = "node-1"
_KEY = b"fake hub"

Reply = TypeVar("Reply")


@dataclass
class HubContents:
    """Everything that a restore brings back."""

    lanes: dict[tuple[str, Lane], LanePoint] = field(default_factory=dict)
    records: dict[tuple[str, int], Record] = field(default_factory=dict)
    state: dict[tuple[str, str], StateRow] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    """The random tag of each change; its place + 1 is the change's number."""


class FakeLive:
    """One live link in memory. The test speaks by `tell`, reads by `heard`, and cuts by `cut`."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._to_node: asyncio.Queue[Message | Transient] = asyncio.Queue()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.closed = False

    def tell(self, message: Message) -> None:
        """The hub says something."""
        self._to_node.put_nowait(message)

    def cut(self) -> None:
        """The link ends."""
        self._end(Transient("cannot use the live link: the hub closed it"))

    def replace(self, newer: FakeLive) -> None:
        """A newer link of the node ends this one."""
        if newer.run == self.run:
            self.cut()
        else:
            self._end(Evicted("cannot use the live link: another agent has it"))

    def _end(self, how: Transient) -> None:
        self.closed = True
        self._to_node.put_nowait(how)

    async def send(self, message: Message) -> None:
        if self.closed:
            raise Transient("cannot use the live link: it is closed")
        self.heard.put_nowait(message)

    async def receive(self) -> Message:
        message = await self._to_node.get()
        if isinstance(message, Transient):
            raise message
        return message

    async def close(self) -> None:
        self.closed = True


class FakeHub:
    """A hub in memory.

    Calls are counted (1, 2, …): what is in `surprises` happens just before the call of that number, and
    `fail_at` gets no answer, after being applied when `applied`. Lanes in `refusing` are answered with a
    refusal, those in `stuck` never.
    """

    def __init__(self, fail_at: int = 0, *, applied: bool = False) -> None:
        self.double = ""
        """Where another agent with this identity speaks from, as hellos are told."""
        self.hubs: list[str] = []
        """The addresses of the fleet's hubs, as hellos are told."""
        self.calls = 0
        self.fail_at = fail_at
        self.applied = applied
        self.surprises: dict[int, Callable[[], None]] = {}
        self.units: list[PushUnit] = []
        self.hellos: list[Hello] = []
        self.reachable = True
        self.live_refused = False
        self.busy = 0
        """So many hellos it has no time for; they are asked to come again `busy_after` seconds later."""
        self.busy_after = 1
        self.refusing: set[Lane] = set()
        self.pulls_refused = False
        self.lies: set[str] = set()
        """Entities that it hands out although they are not its own, or are none."""
        self.stuck: set[Lane] = set()
        self.links: list[FakeLive] = []
        self.pulls: list[Pull] = []
        self.backed_up: dict[tuple[str, Lane], int] = {}
        """What it says of its backups, by incarnation and lane."""
        self._contents = HubContents()

    @property
    def records(self) -> dict[tuple[str, int], Record]:
        """Every record that arrived, by (session, counter)."""
        return self._contents.records

    @property
    def state(self) -> dict[tuple[str, str], StateRow]:
        """Every state row, by (entity, id)."""
        return self._contents.state

    def snapshot(self) -> HubContents:
        """A copy that `restore` can bring back."""
        return copy.deepcopy(self._contents)

    def restore(self, snapshot: HubContents) -> None:
        """The hub's store is put back: what came since is gone, links are cut."""
        self._contents = copy.deepcopy(snapshot)
        self.cut()

    def cut(self) -> None:
        """Ends every live link."""
        for link in self.links:
            link.cut()
        self.links.clear()

    def write(
        self, entity: str, row_id: str, body: bytes = b"{}", *, deleted: bool = False
    ) -> None:
        """The hub changes a row of the node's scope, and says that there is news."""
        rev = self._next_rev()
        row = StateRow(entity, row_id, rev, rev << 16, "hub", deleted, msgspec.Raw(body))
        self._contents.state[entity, row_id] = row
        for link in self.links:
            link.tell(News())

    async def hello(self, hello: Hello) -> HelloReply:
        self.hellos.append(hello)
        if self.busy:
            self.busy -= 1
            raise Busy("cannot say hello: the hub is kept busy by the test", self.busy_after)
        return self._answer(lambda: self._hello(hello))

    async def push(self, unit: PushUnit) -> PushReply:
        self.units.append(unit)
        if unit.lane in self.refusing:
            raise Refused(f"cannot push: lane «{unit.lane}» is refused by the test")
        if unit.lane in self.stuck:
            await asyncio.get_running_loop().create_future()
        return self._answer(lambda: self._push(unit))

    async def pull(self, pull: Pull) -> PullReply:
        self.pulls.append(pull)
        if self.pulls_refused:
            raise Refused("cannot pull: it is refused by the test")
        return self._answer(lambda: self._pull(pull))

    async def live(self, run: str) -> FakeLive:
        if self.live_refused or not self.reachable:
            raise Transient("cannot reach hub: no live link in this test")
        link = FakeLive(run)
        for older in self.links:
            older.replace(link)
        self.links = [link]
        return link

    def _answer(self, work: Callable[[], Reply]) -> Reply:
        self.calls += 1
        self.surprises.pop(self.calls, _nothing)()
        if not self.reachable:
            raise Transient("cannot reach hub: cut by the test")
        if self.calls == self.fail_at:
            if self.applied:
                work()
            raise Transient(f"cannot reach hub: call {self.calls} failed by the test")
        return work()

    def _hello(self, hello: Hello) -> HelloReply:
        if not hello.protocols[0] <= PROTOCOL <= hello.protocols[1]:
            raise Refused(f"cannot talk to this node: it speaks protocols {hello.protocols}")
        lanes = {lane: self._point(hello.incarnation, lane) for lane in LANES}
        backed_up = {lane: self.backed_up.get((hello.incarnation, lane), 0) for lane in LANES}
        reply = HelloReply(PROTOCOL, "fake-hub", 1, 0, lanes, backed_up)
        return msgspec.structs.replace(reply, double=self.double, hubs=self.hubs)

    def _push(self, unit: PushUnit) -> PushReply:
        batches: Sequence[Batch] = ()
        frames: Sequence[StateFrame] = ()
        if unit.lane == "state":
            frames = [decode(frame, StateFrame, "state frame") for frame in unit.frames]
            sizes = [1] * len(frames)
        else:
            batches = [decode(frame, Batch, "record frame") for frame in unit.frames]
            sizes = [len(batch.records) for batch in batches]
        held = self._point(unit.incarnation, unit.lane)
        match admit(held, unit, sizes):
            case Gap(point):
                return PushReply("gap", point, 0)
            case Diverged(point):
                return PushReply("diverged", point, 0)
            case Admit(start, point):
                for batch in batches[start:]:
                    self._take(batch)
                for frame in frames[start:]:
                    for row in frame.rows:
                        self._merge(row)
                spoken_of = dict.fromkeys((r.entity, r.id) for frame in frames for r in frame.rows)
                rows = [self.state[key] for key in spoken_of if key in self.state]
                self._contents.lanes[unit.incarnation, unit.lane] = point
                backed_up = self.backed_up.get((unit.incarnation, unit.lane), 0)
                return PushReply("ok", point, 0, backed_up, rows)

    def _take(self, batch: Batch) -> None:
        for record in batch.records:
            identity = (batch.session, batch.counter + record.offset)
            held = self._contents.records.setdefault(identity, record)
            assert held.value == record.value, f"two records with the identity {identity}"

    def _merge(self, row: StateRow) -> None:
        if not node_may_write(row.entity):
            raise Refused(f"cannot take a state row: a node may not write «{row.entity}»")
        held = self._contents.state.get((row.entity, row.id))
        if held is None or incoming_wins(held, row):
            taken = msgspec.structs.replace(row, rev=self._next_rev())
            self._contents.state[row.entity, row.id] = taken

    def _pull(self, pull: Pull) -> PullReply:
        position = self._position(pull.cursor)
        mine = [row for row in self._contents.state.values() if self._is_pulled(row.entity)]
        mine.sort(key=lambda row: row.rev)
        pending = [] if position is None else [row for row in mine if row.rev > position.seq]
        if position is None or (not pending and pull.digest != _digest(mine)):
            live = [row for row in mine if not row.deleted]
            page = live[: pull.limit]
            more = len(live) > len(page)
            seq = page[-1].rev if more else max((row.rev for row in mine), default=0)
            return self._page(page, seq, more=more, full=True)
        sent = pending[: pull.limit]
        seq = sent[-1].rev if sent else position.seq
        return self._page(sent, seq, more=len(pending) > len(sent), full=False)

    def _page(self, sent: list[StateRow], seq: int, *, more: bool, full: bool) -> PullReply:
        own = [row for row in self._contents.state.values() if not self._is_pulled(row.entity)]
        return PullReply(sent, self._cursor(seq), more, full, hub_time=0, own=_digest(own))

    def _position(self, cursor: str | None) -> Position | None:
        if cursor is None:
            return None
        try:
            position = verify(cursor, _KEY)
        except InvalidInput:
            return None
        return position if position.tag == self._tag(position.seq) else None

    def _is_pulled(self, entity: str) -> bool:
        return entity in self.lies or ENTITIES[entity].writer != "node"

    def _cursor(self, seq: int) -> str:
        return sign(Position(1, seq, self._tag(seq) or "", NODE_ID), _KEY)

    def _tag(self, seq: int) -> str | None:
        if seq == 0:
            return ""
        return self._contents.tags[seq - 1] if seq <= len(self._contents.tags) else None

    def _next_rev(self) -> int:
        self._contents.tags.append(random_token(8))
        return len(self._contents.tags)

    def _point(self, incarnation: str, lane: Lane) -> LanePoint:
        return self._contents.lanes.get((incarnation, lane), LanePoint())


def _nothing() -> None:
    pass


def _digest(rows: Sequence[StateRow]) -> str:
    return set_digest({(row.entity, row.id): row.rev for row in rows if not row.deleted})
