"""Nodes that share rows through a real hub: stores on real files, a whole sync each, HTTP over loopback."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path

import aiohttp
import msgspec
from tests.row_program import RowProgram
from tests.sync_rig import NodeRig

from skerry.core.row_digests import EMPTY, digest, unpack
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.errors import Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.ports import RoundHub, RowHub
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.sync.connections import open_session
from skerry.node.sync.live import WebSocketLive
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.node.sync.row_hub import HttpRowHub
from skerry.node.sync.row_lanes import RowLanes, Shared, Way
from skerry.node.sync.row_schedule import RowSchedule
from skerry.node.sync.sync import Hub
from skerry.node.sync.turns import LinkTurns
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import encode
from skerry.wire.rows import Resolve, RowPut
from skerry.wire.shared import Declaration, Priority, RowsPage, RowsPull
from skerry.wire.sync import Hello, HelloReply, Pull, PullReply, PushReply, PushUnit

NAME = "recipe"


class LossyUplink:
    """The way to the hub; `lose` says of each unit whether its answer is lost on the way back, after the hub took it."""

    def __init__(self, uplink: HttpUplink) -> None:
        self._uplink = uplink
        self.lose: Callable[[PushUnit], bool] = lambda _unit: False
        self.units: list[PushUnit] = []

    async def hello(self, hello: Hello) -> HelloReply:
        return await self._uplink.hello(hello)

    async def push(self, unit: PushUnit) -> PushReply:
        self.units.append(unit)
        reply = await self._uplink.push(unit)
        if self.lose(unit):
            raise Transient("cannot reach hub: cut by the test")
        return reply

    async def pull(self, pull: Pull) -> PullReply:
        return await self._uplink.pull(pull)

    async def live(self, run: str) -> WebSocketLive:
        return await self._uplink.live(run)


class _Noted(HttpRowHub):
    """Keeps the pages that come, and of which class were the questions."""

    def __init__(
        self, uplink: HttpUplink, node: SharingNode, priority: Priority, most: int
    ) -> None:
        super().__init__(uplink, most)
        self._pages, self._asking = node.pages, node.asking
        self._priority: Priority = priority

    async def rows(self, pull: RowsPull) -> RowsPage:
        self._asking.add(self._priority)
        page = await super().rows(pull)
        self._asking.discard(self._priority)
        if any(part.rows for part in page.parts):
            self._pages.append(page)
        return page


class SharingNode(NodeRig):
    """A node that shares rows."""

    def __init__(
        self,
        directory: Path,
        enrolled: EnrolledNode,
        clock: Clock | None = None,
        tell: Tell = untold,
        turns: LinkTurns | None = None,
    ) -> None:
        self.enrolled = enrolled
        self._turns = turns
        self.every: dict[str, float] = {}
        """Schedules, in seconds, for the next `start_at`."""
        self.pages: list[RowsPage] = []
        """What came on a limited link."""
        self.asking: set[Priority] = set()
        """The classes of the questions that were not answered yet; they may wait for their turns."""
        self._http: aiohttp.ClientSession | None = None
        super().__init__(directory, None, clock or SystemClock(), tell=tell)  # type: ignore[arg-type]  # the hub comes with `start_at`

    async def start_at(self, address: str) -> None:
        """Opens the stores beside a hub."""
        self._http = open_session()
        way = self._way(address, "high")
        self.uplink = LossyUplink(way)
        by_class = self._by_class(address)
        rows = HttpRowHub(way)
        together = None if by_class else rows
        await self.open_beside(self.uplink, rows, Pace(pull_every=1.0), by_class, together)

    async def open_beside(
        self,
        uplink: Hub,
        rows: RowHub,
        pace: Pace,
        by_class: Mapping[Priority, RowHub] | None = None,
        together: RoundHub | None = None,
    ) -> None:
        """Opens the stores, and what syncs them with such a hub."""
        self._hub = uplink
        self._pace = pace
        await self.start()
        cipher = NullCipher()
        self._rows_reader = self._writer.reader()
        self.rows = SharedRows(
            self._writer, self._rows_reader, self._clock, self.enrolled.node_id, cipher
        )
        self.schedule = RowSchedule(self.every, self._clock, self.rows.may_wait)
        self.shared = Shared(
            self.rows,
            SharedFrames(self.rows, cipher, self.store.log, self.schedule),
            SharedPulled(self.rows, self.store.log),
        )
        self.program = RowProgram(self.rows, self.shared.frames)
        lanes = RowLanes(
            self.shared,
            self.store,
            Way(uplink, rows, by_class or {}, together),
            self._clock,
            random.Random(7),
            pace=pace,
            tell=self._tell,
            schedule=self.schedule,
        )
        await self.sync.join(lanes)

    def _way(self, address: str, priority: Priority) -> HttpUplink:
        assert self._http is not None
        who = self.enrolled
        return HttpUplink(
            self._http, address, who.node_id, who.secret, turns=self._turns, priority=priority
        )

    def _by_class(self, address: str) -> dict[Priority, RowHub]:
        if self._turns is None:
            return {}
        classes: list[Priority] = ["high", "medium", "low"]
        return {
            each: _Noted(self._way(address, each), self, each, self._turns.piece)
            for each in classes
        }

    async def stop(self) -> None:
        await super().stop()
        self._rows_reader.close()
        if self._http is not None:
            await self._http.close()

    async def dump(self, entity: str = NAME) -> dict[str, bytes]:
        """Every row's body, by its id."""
        return {row.id: bytes(row.body) for row in await self.program.list(entity)}

    async def sent_all(self) -> bool:
        return not any([await self.rows.unsent(entity) for entity in self.rows.declared])

    async def log_of(self, operation: str) -> list[str]:
        """Details of the lines in `sync_log`."""
        found = self.rows.reader.execute(
            "SELECT details FROM sync_log WHERE operation = ?", (operation,)
        )
        return [row["details"] for row in found]

    async def in_conflict(self) -> bool:
        return "conflict" in await self.statuses()

    async def statuses(self, entity: str = NAME) -> Collection[str]:
        return {row.status for row in await self.program.list(entity)}


class Fleet:
    """A hub that can be stopped, put back and started again, and its nodes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = contextlib.AsyncExitStack()
        self.nodes: list[SharingNode] = []

    async def start_hub(self) -> RunningHub:
        self.hub = await self._stack.enter_async_context(running_hub(self._directory / "hub"))
        return self.hub

    async def stop_hub(self) -> None:
        await self._stack.aclose()

    def copy_hub(self) -> None:
        """Keeps the hub as it is; only while it is stopped."""
        shutil.copytree(self._directory / "hub", self._directory / "hub.copy")

    def put_hub_back(self) -> None:
        shutil.rmtree(self._directory / "hub")
        shutil.copytree(self._directory / "hub.copy", self._directory / "hub")

    async def restart(self) -> None:
        """The hub and all nodes, which are stopped."""
        await self.start_hub()
        for node in self.nodes:
            await node.start_at(self.hub.address)
            node.sync_on()

    async def node(self, name: str, turns: LinkTurns | None = None) -> SharingNode:
        """One more node; its sync is off."""
        node = SharingNode(self._directory / name, await self.hub.enrol(name), turns=turns)
        await node.start_at(self.hub.address)
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            await node.stop()
        await self.stop_hub()

    async def resolve(self, entity: str, row_id: str, node: str) -> None:
        """A person decides for the version of `node`."""
        await self._ask("POST", f"conflicts/{entity}/{row_id}/resolve", Resolve("node", node))

    async def put(self, entity: str, row_id: str, body: bytes, base: int) -> None:
        """A person edits a row at the hub, in the version that they have looked at."""
        await self._ask("PUT", f"entities/{entity}/rows/{row_id}", RowPut(msgspec.Raw(body), base))

    async def _ask(self, method: str, call: str, question: object) -> None:
        url = f"{self.hub.address}/api/v1/{call}"
        async with (
            aiohttp.ClientSession(headers=self.hub.person) as session,
            session.request(method, url, data=encode(question)) as response,
        ):
            assert response.status == 200, await response.text()

    async def share(self, declarations: Mapping[str, Declaration]) -> None:
        """All nodes are on and have the entities."""
        for node in self.nodes:
            for entity, declaration in declarations.items():
                await node.rows.declare(entity, declaration)
            node.sync_on()
        await self.equal()

    async def equal(self, entity: str = NAME) -> dict[str, bytes]:
        """Waits until all have sent everything and hold what the hub holds; what that is of one entity."""

        async def settled() -> bool:
            return all([await node.sent_all() for node in self.nodes]) and self._digests() == 1

        await eventually(settled, "the hub and all nodes hold the same rows")
        dumps = [
            {each: await node.dump(each) for each in node.rows.declared} for node in self.nodes
        ]
        assert all(dump == dumps[0] for dump in dumps)
        return dumps[0].get(entity, {})

    def _digests(self) -> int:
        """How many different states there are."""
        with contextlib.closing(sqlite3.connect(self._directory / "hub" / "hub.db")) as hub:
            sums = dict(hub.execute("SELECT entity, sums FROM shared_entity").fetchall())
        states = {
            tuple(node.shared.pulled.digest(entity) for entity in sorted(node.rows.declared))
            for node in self.nodes
        }
        for node in self.nodes:
            entities = sorted(node.rows.declared)
            states.add(tuple(digest(unpack(sums.get(entity, EMPTY))) for entity in entities))
        return len(states)


@contextlib.asynccontextmanager
async def fleet(directory: Path) -> AsyncIterator[Fleet]:
    """With a running hub and no nodes."""
    found = Fleet(directory)
    await found.start_hub()
    try:
        yield found
    finally:
        await found.close()
