"""The node's sync with its hub as one object: what the agent builds, runs and asks for a status.

Sync ── Link ─┬─ Session ─┬─ LanePush × 4 ── feeds ── node/store
│           ├─ PullLoop ───────────────── node/store
│           └─ RowLanes, where rows are shared: LanePush × 3, RowPull
└─ LiveLink ── channels
"""

from __future__ import annotations

import asyncio
import platform
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.ids import random_token
from skerry.kit.tasks import Guard
from skerry.node.ports import LogSource, Uplink
from skerry.node.proof import FleetTrust
from skerry.node.store.records import RecordStore
from skerry.node.store.state import NodeStore
from skerry.node.sync.feeds import MAX_BYTES, Feed, RecordFeed, StateFeed
from skerry.node.sync.link import Link
from skerry.node.sync.live_link import Bells, LiveLink, LiveSource
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.node.sync.pull import PullLoop
from skerry.node.sync.push import LanePush
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.session import LAST_SUCCESS, Agent, Puller, Session
from skerry.wire.local import EntityStatus, LaneCounters, LaneStatus, PullCounters, SyncStatus
from skerry.wire.sync import RECORD_LANES, Lane, LanePoint

if TYPE_CHECKING:
    from skerry.node.sync.channels import Services
    from skerry.node.sync.turns import LinkTurns

LINGER: dict[Lane, float] = {
    "state": 0.2,
    "event": 0.2,
    "keep": 1.0,
    "sample": 1.0,
    "rows-high": 0.005,
    "rows-medium": 0.2,
    "rows-low": 1.0,
}
"""Seconds between two units of a lane that has no backlog; a first value after idle goes at once."""

_LANES: tuple[Lane, ...] = ("state", *RECORD_LANES)
"""Those that every node has."""

_LOOK_EVERY = 0.05


class Hub(Uplink, LiveSource, Protocol):
    """A hub as this node reaches it: calls, and the live link."""


class Stores(msgspec.Struct, frozen=True):
    """What is synced."""

    state: NodeStore
    records: RecordStore


class Connection(msgspec.Struct, frozen=True):
    """The parts that exist only when this node has a hub."""

    link: Link
    session: Session
    pull: PullLoop
    pushes: dict[Lane, LanePush]
    check: Bell
    """Rings for a hello."""

    @property
    def failures(self) -> int:
        """Tries in a row that failed: of reaching the hub, or of units and pulls that it does not take."""
        pushes = [push.failures for push in self.pushes.values()]
        pulls = [puller.refusals for puller in self.session.pullers]
        return max(self.link.failures, *pulls, *pushes)


def connect(  # noqa: PLR0913 - both ends, time, and how often
    hub: Hub,
    stores: Stores,
    reachability: Reachability,
    logs: LogSource,
    clock: Clock,
    chance: random.Random,
    *,
    pace: Pace,
    most: int = MAX_BYTES,
    counts: Mapping[Lane, LaneCounters] | None = None,
    tell: Tell = untold,
    trust: FleetTrust | None = None,
    services: Services | None = None,
) -> Connection:
    """Puts the parts together; nothing runs before `Sync.run`.

    `most` is the size of a unit before compression. `counts` are those of `hub`; `tell` hears of what is parked, `trust`
    of the hub's time and roots. `services` are those of channels, by their kind; the caller may add to them.
    """
    check = Bell()
    agent = Agent(random_token(), platform.node())
    store = stores.state
    feeds: list[Feed] = [StateFeed(LINGER["state"], store, clock.boot_id())]
    feeds += [
        RecordFeed(lane, LINGER[lane], stores.records, store, most=most) for lane in RECORD_LANES
    ]
    counted = counts or {}
    pushes = {
        feed.lane: LanePush(
            feed, hub, clock, chance, pace=pace, log=store.log, counts=counted.get(feed.lane), tell=tell
        )
        for feed in feeds
    }  # fmt: skip
    pull = PullLoop(hub, store, clock, chance, check, pace=pace, tell=tell)
    session = Session(hub, store, pushes, pull, clock, check, agent=agent, trust=trust)
    bells = Bells(check, pull.news, session.row_news)
    live = LiveLink(
        hub,
        logs,
        reachability,
        clock,
        chance,
        bells,
        run=agent.run,
        services={} if services is None else services,
    )
    link = Link(session, live, reachability, clock, chance, check)
    return Connection(link, session, pull, pushes, check)


class MoreLanes(Protocol):
    """Lanes that a node has only when something needs them (`row_lanes.RowLanes`)."""

    @property
    def lanes(self) -> tuple[Lane, ...]: ...

    def connect(self, connection: Connection) -> tuple[list[LanePush], list[Puller]]:
        """What pushes the lanes, and what pulls beside them."""
        ...

    async def unsent(self, lane: Lane) -> int:
        """How much of the lane waits for the hub."""
        ...

    async def entities(self) -> list[EntityStatus]:
        """What is synced by them."""
        ...

    def hurry(self) -> None:
        """What waits for its schedule goes now."""
        ...


class Sync:
    """Keeps node and hub in step for as long as `run` runs. Without a connection the node stands alone."""

    def __init__(
        self,
        stores: Stores,
        reachability: Reachability,
        connection: Connection | None,
        clock: Clock,
        chance: random.Random,
        turns: LinkTurns | None = None,
    ) -> None:
        self.reachability = reachability
        self.connection = connection
        self.turns = turns
        self._store = stores.state
        self._records = stores.records
        self._more: MoreLanes | None = None
        self._guard = Guard("keeping in touch with the hub", clock, chance)

    def known_as(self, fingerprint: str) -> None:
        """Each hello says from now on as which device Cyberwave's twins know this one."""
        if self.connection is not None:
            self.connection.session.fingerprint = fingerprint

    async def run(self) -> None:
        """Runs until cancelled; then keeps what was acknowledged and takes leave of the hub."""
        while not await self._guard.run(self.reachability.restore):
            pass
        if self.connection is None:
            await self.reload()  # what was carried to the hub by hand may go in time
            await asyncio.get_running_loop().create_future()
            return
        for push in self.connection.pushes.values():
            await push.load()
        try:
            while True:
                await self._guard.run(self.connection.link.once)
        finally:
            await self._guard.run(self.connection.session.save)
            if self.turns is not None:
                await self._guard.run(self.turns.save)

    async def join(self, more: MoreLanes) -> None:
        """These lanes are synced, too, from the next hello on, which is asked for."""
        self._more = more
        if self.connection is None:
            return
        pushes, pullers = more.connect(self.connection)
        for push in pushes:
            await push.load()
            self.connection.pushes[push.feed.lane] = push
        for puller in pullers:
            self.connection.session.follow(puller)
        self.connection.check.ring()

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which our wall clock is ahead of the hub's; None: the hub was not heard since the start."""
        return self.connection.session.clock_skew if self.connection else None

    def backed_up(self, lane: Lane) -> int:
        """Up to which number the hub has `lane` in a backup; 0 where nothing is known."""
        return self.connection.pushes[lane].backed_up if self.connection else 0

    @property
    def connected(self) -> bool:
        """Whether the hub answers."""
        return self.reachability.connected

    async def acknowledged(self) -> dict[Lane, LanePoint]:
        """How far the hub has each lane, as far as is known here."""
        if self.connection is None:
            return {lane: await self._store.lane(lane) for lane in self._lanes}
        return {lane: push.acknowledged for lane, push in self.connection.pushes.items()}

    async def reload(self) -> None:
        """Takes up again what the store says is acknowledged; while the hub is not there."""
        for lane in RECORD_LANES:
            self._records.acknowledge(lane, (await self._store.lane(lane)).n)
        if self.connection is not None:
            for push in self.connection.pushes.values():
                await push.load()

    async def status(self) -> SyncStatus:
        """For people and monitoring: the link, the lanes, and whether all of it works."""
        saved = await self._store.fact(LAST_SUCCESS)
        session = self.connection.session if self.connection else None
        last_success = max(int(saved or 0), session.last_success if session else 0)
        if not last_success:
            result: Literal["success", "failing", "never"] = "never"
        else:
            result = "success" if self._works() else "failing"
        return SyncStatus(
            result=result,
            link=self.reachability.status,
            lanes=[await self._lane(lane) for lane in self._lanes],
            incarnation=self._store.incarnation,
            last_synced=last_success or None,
            failures=self.connection.failures if self.connection else 0,
            double=session.double if session else "",
            pulls=session.pullers[0].counts if session else PullCounters(),
            row_pulls=None if session is None else session.row_pulls,
            network=None if self.turns is None else await self.turns.status(),
            entities=[] if self._more is None else await self._more.entities(),
            problems=session.problems if session else [],
        )

    def hurry(self) -> None:
        """What waits for a schedule of its own goes now."""
        if self._more is not None:
            self._more.hurry()

    async def waiting(self) -> dict[Lane, int]:
        """What the hub does not have: records, or rows."""
        return {lane: (await self._lane(lane)).waiting for lane in self._lanes}

    async def settled(self) -> None:
        """Returns when the hub has everything, or is not there."""
        while self.reachability.connected and any(  # noqa: ASYNC110 - four lanes, at the end of a life
            (await self.waiting()).values()
        ):
            await asyncio.sleep(_LOOK_EVERY)

    @property
    def _lanes(self) -> tuple[Lane, ...]:
        return _LANES if self._more is None else (*_LANES, *self._more.lanes)

    def _works(self) -> bool:
        connection = self.connection
        return (
            connection is not None
            and self.reachability.connected
            and connection.session.last_success > 0
            and not connection.session.problems
        )

    async def _lane(self, lane: Lane) -> LaneStatus:
        push = self.connection.pushes[lane] if self.connection else None
        acknowledged = push.acknowledged.n if push else (await self._store.lane(lane)).n
        problem = push.problem if push else ""
        parked = push is not None and push.parked
        counters = msgspec.structs.replace(push.counts) if push else LaneCounters()
        if lane in RECORD_LANES:
            size, head = self._records.bytes(lane), self._records.head(lane).n
            waiting = head - acknowledged
        else:
            more = None if lane == "state" else self._more
            size, waiting = 0, await (more.unsent(lane) if more else self._store.unsent())
            head = acknowledged + waiting
        return LaneStatus(
            lane, head, acknowledged, waiting, size, problem, counters=counters, parked=parked
        )
