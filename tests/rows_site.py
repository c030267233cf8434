"""A hub without HTTP and nodes beside it that share rows, all with the shipped stores and sync: the test says who hears what when."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Table, select
from tests.hub_rig import HubRig
from tests.shared_rig import SharingNode
from tests.sync_rig import passing

from skerry.core.row_digests import digest
from skerry.hub.store import locks, shared
from skerry.hub.store.shared_tables import shared_conflict, shared_row, shared_version
from skerry.hub.sync import rows_push
from skerry.kit.errors import Refused, Transient
from skerry.node.ports import RowHub
from skerry.node.sync.pace import Pace
from skerry.testing.fake_hub import FakeLive
from skerry.testing.manual_clock import ManualClock
from skerry.testing.running_hub import EnrolledNode
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.link import News
from skerry.wire.records import Meta, Value
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Declaration,
    Edit,
    EditFrame,
    Priority,
    Round,
    RoundReply,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
)
from skerry.wire.sync import (
    ROW_LANES,
    Hello,
    HelloReply,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
)

Q = TypeVar("Q")
A = TypeVar("A")

CLASSES: tuple[Priority, ...] = ("high", "medium", "low")

NEVER = 1e9
"""Seconds: a schedule that no test waits for."""


class Told(NamedTuple):
    """An event of a node's own."""

    name: str
    words: str
    meta: Meta


class Version(NamedTuple):
    """What the hub keeps of a row."""

    id: str
    deleted: bool
    body: bytes
    why: str
    """Of the history; empty: the row itself. Of what waits, the node's id."""


class HubWay:
    """One node's way to the hub: implements `Uplink`, `RoundHub` and `LiveSource`, and what `RowHub` asks."""

    def __init__(self, site: RowsSite, node_id: str) -> None:
        self._site = site
        self._node_id = node_id
        self.is_up = True
        self.refusing: set[str] = set()
        """Row lanes, or «rows/pull»."""
        self.lose: Callable[[PushUnit], bool] = lambda _unit: False
        """Whether the answer is lost after the hub took the unit."""
        self.may_push, self.may_pull = asyncio.Event(), asyncio.Event()
        """Row lanes, and pulls of rows, wait for these."""
        self.may_push.set()
        self.may_pull.set()
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        """Of questions and answers, by call."""
        self.rows: Counter[str] = Counter()
        """That were answered with their bodies, by call."""
        self.busy = 0
        self.link = FakeLive("")

    def cut(self) -> None:
        """Nothing gets through from now on."""
        self.is_up = False
        self.link.cut()

    def heal(self) -> None:
        """The next hello is answered."""
        self.is_up = True

    async def hello(self, hello: Hello) -> HelloReply:
        greet = self._site.hub.greeter.hello
        return await self._ask("hello", hello, HelloReply, lambda said: greet(self._node_id, said))

    async def push(self, unit: PushUnit) -> PushReply:
        if unit.lane in ROW_LANES:
            await self.may_push.wait()
        push = self._site.hub.push
        reply = await self._ask(unit.lane, unit, PushReply, lambda said: push(self._node_id, said))
        if self.lose(unit):
            raise Transient("cannot reach hub: the answer was lost")
        return reply

    async def pull(self, pull: Pull) -> PullReply:
        answer = self._site.hub.feed.answer
        return await self._ask("pull", pull, PullReply, lambda said: answer(self._node_id, said))

    async def rows_of(self, pull: RowsPull) -> RowsPage:
        await self.may_pull.wait()
        answer = self._site.hub.row_feed.answer
        page = await self._ask(
            "rows/pull", pull, RowsPage, lambda said: answer(self._node_id, said)
        )
        self.rows["rows/pull"] += sum(len(part.rows) for part in page.parts)
        return page

    async def round(self, asked: Round) -> RoundReply:
        answer = self._site.hub.rounds.answer
        return await self._ask("round", asked, RoundReply, lambda said: answer(self._node_id, said))

    async def buckets(self, sums: Buckets) -> BucketsReply:
        return await self._ask("rows/buckets", sums, BucketsReply, self._site.hub.row_feed.buckets)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        part = await self._ask("rows/wanted", wanted, RowsPart, self._site.hub.row_feed.wanted)
        self.rows["rows/wanted"] += len(part.rows)
        return part

    async def live(self, run: str) -> FakeLive:
        if not self.is_up:
            raise Transient("cannot reach hub: cut by the test")
        self.link = FakeLive(run)
        return self.link

    async def _ask(
        self, call: str, question: Q, kind: type[A], answer: Callable[[Q], Awaitable[A]]
    ) -> A:
        if not self.is_up:
            raise Transient("cannot reach hub: cut by the test")
        self.calls[call] += 1
        if call in self.refusing:
            raise Refused(f"cannot {call}: refused by the test")
        self.busy += 1
        try:
            asked = encode(question)
            came = encode(await answer(decode(asked, type(question), call)))
        finally:
            self.busy -= 1
        if not self.is_up:
            raise Transient("cannot reach hub: cut by the test")
        self.bytes[call] += len(asked) + len(came)
        return decode(came, kind, call)


class _RowHub:
    """The questions about rows of a `HubWay`: implements `RowHub`."""

    def __init__(self, way: HubWay) -> None:
        self.rows = way.rows_of
        self.buckets = way.buckets
        self.wanted = way.wanted


class _HeldBack:
    """A class of rows that may not go: implements `RowHub`."""

    async def rows(self, pull: RowsPull) -> RowsPage:
        raise await self._never(pull)

    async def buckets(self, sums: Buckets) -> BucketsReply:
        raise await self._never(sums)

    async def wanted(self, wanted: RowsWanted) -> RowsPart:
        raise await self._never(wanted)

    async def _never(self, _question: object) -> Exception:
        await asyncio.Event().wait()
        return AssertionError("nobody lets it go")


class SiteNode(SharingNode):
    """A node of a site; `told` are its own events."""

    way: HubWay

    def __init__(self, directory: Path, enrolled: EnrolledNode, clock: ManualClock) -> None:
        self.told: list[Told] = []
        super().__init__(directory, enrolled, clock, self._hear)

    async def _hear(self, name: str, value: Value, meta: Meta) -> None:
        self.told.append(Told(name, str(value), meta))

    def heard(self, name: str) -> list[Told]:
        """Its events of that name."""
        return [told for told in self.told if told.name == name]

    async def has_pulled(self) -> None:
        """Returns when rows were pulled once more, from the first question on."""
        puller = self.sync.connection.session.pullers[1]  # type: ignore[union-attr]
        before = puller.begun
        self.sync.connection.session.row_news.ring()  # type: ignore[union-attr]
        await eventually(lambda: puller.ended > before, "rows are pulled")

    async def hold(self) -> None:
        """Rows are neither pushed nor pulled from now on."""
        self.way.may_push.clear()
        self.way.may_pull.clear()
        await eventually(lambda: not self.way.busy, "nothing is on its way")


class RowsSite:
    """The hub and its nodes; `clock` is everybody's and goes on by itself."""

    def __init__(self, directory: Path, url: str, clock: ManualClock) -> None:
        self._directory = directory
        self.url = url
        self.clock = clock
        self.nodes: list[SiteNode] = []
        self.hub = self.new_hub()

    def new_hub(self) -> HubRig:
        return HubRig(self.url, self.clock, tell=self.news)

    def news(self, node_id: str, news: News) -> None:
        for node in self.nodes:
            if node.enrolled.node_id == node_id and not node.way.link.closed:
                node.way.link.tell(news)

    async def node(
        self, name: str, pace: Pace | None = None, held_back: Collection[Priority] = ()
    ) -> SiteNode:
        """One more node; its sync is off. Pulls of the classes `held_back` never get their turn."""
        enrolled = await self.hub.enrol(name)
        node = SiteNode(self._directory / name, enrolled, self.clock)
        return await self.add(node, pace, held_back)

    async def add(
        self,
        node: SiteNode,
        pace: Pace | None = None,
        held_back: Collection[Priority] = (),
        *,
        together: bool = False,
    ) -> SiteNode:
        """A node whose directory may be there already; `together`: it asks after states and rows at once."""
        node.way = HubWay(self, node.enrolled.node_id)
        rows = _RowHub(node.way)
        by_class: dict[Priority, RowHub] = {}
        if held_back:
            by_class = dict.fromkeys(CLASSES, rows) | dict.fromkeys(held_back, _HeldBack())
        await node.open_beside(
            node.way, rows, pace or Pace(pull_every=NEVER), by_class, node.way if together else None
        )
        self.nodes.append(node)
        return node

    async def again(self, node: SiteNode, pace: Pace | None = None) -> None:
        """Starts a node that was stopped."""
        self.nodes.remove(node)
        await self.add(node, pace)

    async def share(self, declarations: dict[str, Declaration]) -> None:
        """All nodes are on, have the entities, and know so."""
        for node in self.nodes:
            for entity, declaration in declarations.items():
                await node.rows.declare(entity, declaration)
            node.sync_on()
        await self.equal()

    async def equal(self) -> None:
        """Waits until hub and nodes hold the same, and compares every row."""

        async def settled() -> bool:
            at_hub = await self.digests()
            return all([await node.sent_all() for node in self.nodes]) and all(
                node.shared.pulled.digest(entity) == at_hub[entity]
                for node in self.nodes
                for entity in node.rows.declared
            )

        await eventually(settled, "hub and nodes hold the same")
        for entity in self.nodes[0].rows.declared:
            expected = await self.dump(entity)
            for node in self.nodes:
                assert await node.dump(entity) == expected, (node.enrolled.name, entity)

    async def digests(self) -> dict[str, str]:
        """The hub's."""
        names = {entity for node in self.nodes for entity in node.rows.declared}

        def read(connection: Connection) -> dict[str, str]:
            return {name: digest(shared.standing(connection, name).sums) for name in names}

        return await self.hub.store.read(read)

    async def dump(self, entity: str) -> dict[str, bytes]:
        """The hub's rows by their ids, in order."""
        rows = await self.versions(shared_row, entity)
        return {row.id: row.body for row in sorted(rows) if not row.deleted}

    async def history(self, entity: str) -> list[Version]:
        """What rows were, and what was not taken."""
        return await self.versions(shared_version, entity)

    async def waiting(self, entity: str) -> list[Version]:
        """Edits that wait for a person."""
        return await self.versions(shared_conflict, entity)

    async def versions(self, table: Table, entity: str) -> list[Version]:
        its = table.c
        why = {shared_version: "why", shared_conflict: "node_id"}.get(table)

        def read(connection: Connection) -> list[Version]:
            query = select(table).where(its.entity == entity)
            return [
                Version(row.id, row.deleted, bytes(row.body), getattr(row, why) if why else "")
                for row in connection.execute(query)
            ]

        return await self.hub.store.read(read)

    async def edit_at_hub(self, entity: str, edits: Sequence[Edit]) -> None:
        """People's edits, in one transaction; of old revisions where their `base` says so."""
        now = self.clock.wall_ns()
        made = [Edit(e.id, e.base, (now // 1_000_000) << 16, e.kind, e.body) for e in edits]

        def work(connection: Connection) -> None:
            locks.of_fleet(connection)
            rows_push.apply(connection, [EditFrame(entity, made)], "", now)

        await self.hub.store.write(work)
        self.hub.readers.changed([entity])


@contextlib.asynccontextmanager
async def rows_site(directory: Path, url: str, clock: ManualClock) -> AsyncIterator[RowsSite]:
    """With a hub that works, and no nodes; time passes."""
    site = RowsSite(directory, url, clock)
    await site.hub.start()
    time = asyncio.create_task(passing(clock))
    try:
        yield site
    finally:
        for node in site.nodes:
            await node.stop()
        time.cancel()
        await asyncio.wait([time])
        site.hub.stop()
