"""The hub of a simulation: the shipped store and sync modules, put together as `hub.server` does, behind the network."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from tests.simulation.machine import Life, Machine
from tests.simulation.network import as_answer
from tests.simulation.sim_clock import SimClock
from tests.simulation.storage import Storage

from skerry.core.credentials import secret_hash
from skerry.core.row_digests import digest
from skerry.hub.data.ingest import Ingest
from skerry.hub.fleet.agents import Agent
from skerry.hub.fleet.assignments import Assignments
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.safe import KEY_FILE, Safe
from skerry.hub.fleet.tokens import Tokens
from skerry.hub.store import shared
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared_tables import shared_conflict, shared_entity
from skerry.hub.store.tables import state
from skerry.hub.sync.epochs import Epochs
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.own_edits import OwnEdits
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.readers import Readers
from skerry.hub.sync.rounds import Rounds
from skerry.hub.sync.rows_pull import RowFeed
from skerry.hub.sync.shared_rows import SharedRows
from skerry.kit.clock import Clock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import SkerryError, Transient
from skerry.node.sync.live_link import Evicted
from skerry.wire.codec import decode, encode
from skerry.wire.link import Message, News
from skerry.wire.shared import Buckets, Judged, Round, RowsPull, RowsWanted
from skerry.wire.sync import Enrol, Hello, Pull, PushReply, PushUnit

ALL_NEWS = News()


class SimSocket:
    """A live link: implements `node.sync.live_link.LiveSocket`."""

    def __init__(self, run: str, forget: Callable[[SimSocket], None]) -> None:
        self.run = run
        self._forget = forget
        self._messages: asyncio.Queue[Message | Transient] = asyncio.Queue()

    def tell(self, message: Message | Transient) -> None:
        """A message of the hub's, or the end of the link."""
        self._messages.put_nowait(message)

    async def send(self, message: Message) -> None:
        pass

    async def receive(self) -> Message:
        message = await self._messages.get()
        if isinstance(message, Transient):
            raise message
        return message

    async def close(self) -> None:
        self._forget(self)


class HubLife(Life):
    """One start of the hub."""

    def __init__(
        self, storage: Storage, clock: SimClock, seen: Counter[str], *, full: bool
    ) -> None:
        super().__init__(storage)
        self._full = full
        self._seen = seen
        self._clock = clock
        self._working: set[asyncio.Task[bytes]] = set()
        self.links: dict[str, SimSocket] = {}

    async def open(self) -> None:
        driver = self.stack.enter_context(self.storage.mounted())
        self.storage.volume.told = self.power_failed
        self.storage.volume.full = self._full
        clock = self._clock
        self.store = HubStore(f"sqlite:///{self.storage.now / 'hub.db'}", clock, driver=driver)
        self.stack.callback(self.store.stop)
        self.store.start()
        assignments = Assignments(clock, Safe(self.storage.now / KEY_FILE, RealDisk()))
        self.tokens = Tokens(self.store, clock)
        self.nodes = Nodes(self.store, assignments, clock, self.notify)
        await self.nodes.start()
        readers = Readers(self.notify_rows)
        ingest = Ingest(lambda: self.store.facts.index_key)
        self._receiver = Receiver(self.store, ingest, self.nodes, self.notify, readers.changed)
        epochs = Epochs(self.store, assignments, self.notify)
        self._feed = Feed(self.store, epochs, clock)
        self._row_feed = RowFeed(self.store, epochs, readers, clock)
        self._rounds = Rounds(self.store, self._feed, self._row_feed)
        self._greeter = Greeter(self.store, clock)
        self.shared_rows = SharedRows(self.store, OwnEdits(self.store, clock, readers.changed))

    async def end(self) -> None:
        for task in list(self._working):
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)
        for link in list(self.links.values()):
            link.tell(Transient("the live link ended"))
        self.links.clear()

    def notify(self, node_id: str, news: News = ALL_NEWS) -> None:
        link = self.links.get(node_id)
        if link is not None and not self.is_dead:
            link.tell(news)

    def notify_rows(self, node_id: str) -> bool:
        self.notify(node_id, News(rows=True))
        return node_id in self.links

    def link(self, node_id: str, run: str) -> SimSocket:
        """Opens a node's live link; one that it has already ends."""
        before = self.links.get(node_id)
        if before is not None:
            before.tell(Transient("replaced") if before.run == run else Evicted("another agent"))

        def forget(socket: SimSocket) -> None:
            if self.links.get(node_id) is socket:
                del self.links[node_id]

        socket = self.links[node_id] = SimSocket(run, forget)
        return socket

    def cut_link(self, node_id: str) -> None:
        """The way to a node has broken."""
        link = self.links.pop(node_id, None)
        if link is not None:
            link.tell(Transient("the live link ended: connection reset"))

    async def serve(self, node_id: str, what: str, body: bytes) -> bytes:
        """A request of a node's. Raises as its HTTP status would make the node's uplink raise."""
        work: Coroutine[Any, Any, bytes] = self._answer(node_id, what, body)
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            await asyncio.wait([task])
        finally:
            task.add_done_callback(_look_away)
        if task.cancelled() or self.is_dead:
            raise Transient("cannot reach hub: connection reset")
        return task.result()

    async def _answer(self, node_id: str, what: str, body: bytes) -> bytes:
        ways: dict[str, Callable[[str, bytes], Awaitable[object]]] = {
            "hello": self._hello,
            "push": self._push,
            "pull": lambda who, body: self._feed.answer(who, decode(body, Pull, what)),
            "rows/pull": lambda who, body: self._row_feed.answer(who, decode(body, RowsPull, what)),
            "round": lambda who, body: self._rounds.answer(who, decode(body, Round, what)),
            "rows/buckets": lambda _, body: self._row_feed.buckets(decode(body, Buckets, what)),
            "rows/wanted": lambda _, body: self._row_feed.wanted(decode(body, RowsWanted, what)),
        }
        try:
            return encode(await ways[what](node_id, body))
        except SkerryError as error:
            raise as_answer(error) from error

    async def digests(self) -> dict[str, str]:
        """Of each entity that has rows."""

        def read(connection: Connection) -> dict[str, str]:
            names = connection.execute(select(shared_entity.c.entity)).scalars().all()
            return {name: digest(shared.standing(connection, name).sums) for name in names}

        return await self.store.read(read)

    async def statuses(self) -> dict[tuple[str, str], str]:
        """What nodes have said of their workloads, by the node's id and the workload."""
        query = select(state.c.scope, state.c.id, state.c.body).where(
            state.c.entity == "status", state.c.deleted.is_(other=False)
        )

        def read(connection: Connection) -> dict[tuple[str, str], str]:
            return {(row.scope, row.id): _text(row.body) for row in connection.execute(query)}

        return await self.store.read(read)

    async def waiting(self) -> list[tuple[tuple[str, str], str]]:
        """Entity and id of the rows that wait for a person, each with the node whose edit waits."""
        its = shared_conflict.c

        def read(connection: Connection) -> list[tuple[tuple[str, str], str]]:
            found = connection.execute(select(its.entity, its.id, its.node_id))
            return [((row.entity, row.id), row.node_id) for row in found]

        return await self.store.read(read)

    async def _hello(self, node_id: str, body: bytes) -> object:
        hello = decode(body, Hello, "hello")
        self.nodes.seen(node_id, self._clock.wall_ns(), Agent(hello.run, hello.host))
        return await self._greeter.hello(node_id, hello)

    async def _push(self, node_id: str, body: bytes) -> object:
        unit = decode(body, PushUnit, "push")
        reply = await self._receiver.receive(node_id, unit, self._clock.wall_ns())
        self._seen[f"answered: {reply.outcome}"] += 1
        told = decode(encode(reply), PushReply, "reply")
        self._seen["edits"] += len(told.revs)
        for each in decode(told.judged, list[Judged], "what was judged"):
            self._seen[f"judged: {each.outcome}"] += 1
        return reply


class SimHub(Machine[HubLife]):
    """The hub over its lives."""

    def new_life(self) -> HubLife:
        return HubLife(self.storage, self.clock, self.seen, full=self.is_full)

    async def enrol(self, name: str) -> str:
        """A new node's id."""
        assert self.life is not None
        token = await self.life.tokens.create(600.0)
        found = await self.life.nodes.enrol(
            Enrol(token.token, name, {}, "0.1", secret_hash(f"secret of {name}"))
        )
        return found.node_id

    async def serve(self, node_id: str, what: str, body: bytes) -> bytes:
        """As `HubLife.serve`; raises Transient while the hub is down."""
        if self.life is None or self.life.is_dead:
            raise Transient("cannot reach hub: connection refused")
        return await self.life.serve(node_id, what, body)

    async def link(self, node_id: str, run: str) -> SimSocket:
        if self.life is None or self.life.is_dead:
            raise Transient("cannot reach hub: connection refused")
        return self.life.link(node_id, run)


def make_template(directory: Path, clock: Clock) -> None:
    """A new hub's database."""
    store = HubStore(f"sqlite:///{directory / 'hub.db'}", clock)
    store.start()
    store.stop()
    for left in directory.glob("hub.db-*"):
        left.unlink()


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else bytes(body).decode()


def _look_away(task: asyncio.Task[bytes]) -> None:
    """An answer that nobody waits for any more may be an error."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
