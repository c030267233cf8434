"""The sync of shared rows as one part: three lanes that push edits and a loop that pulls. Joins a running `sync.Sync`.

Loaded with the first shared entity, and never where there is none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.node.ports import RowHub, Uplink
from skerry.node.store.shared_frames import SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.state import NodeStore
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.node.sync.push import LanePush
from skerry.node.sync.row_feed import RowFeed
from skerry.node.sync.row_pull import RowPull
from skerry.node.sync.session import Puller
from skerry.node.sync.sync import LINGER, Connection
from skerry.wire.local import LaneCounters
from skerry.wire.sync import ROW_LANES, Lane


class Shared(msgspec.Struct, frozen=True):
    """The shared rows of one store: edits, what is sent, what came."""

    rows: SharedRows
    frames: SharedFrames
    pulled: SharedPulled


class Way(msgspec.Struct, frozen=True):
    """The hub, both for pushes and for questions about rows."""

    uplink: Uplink
    rows: RowHub


class RowLanes:
    """Implements `sync.MoreLanes`. `way` None: this node belongs to no hub."""

    lanes = ROW_LANES

    def __init__(  # noqa: PLR0913 - what is synced, with whom, how often, and who hears of it
        self,
        shared: Shared,
        store: NodeStore,
        way: Way | None,
        clock: Clock,
        chance: random.Random,
        *,
        pace: Pace,
        counts: Mapping[Lane, LaneCounters] | None = None,
        tell: Tell = untold,
    ) -> None:
        self._counts = counts or {}
        self._tell = tell
        self._shared = shared
        self._store = store
        self._way = way
        self._clock = clock
        self._chance = chance
        self._pace = pace

    def connect(self, connection: Connection) -> tuple[list[LanePush], Puller]:
        """What pushes the lanes, and what pulls beside them. Only with a hub."""
        assert self._way is not None  # noqa: S101 - a node with a connection has a hub
        pull = RowPull(
            self._way.rows,
            self._shared.rows,
            self._shared.pulled,
            self._clock,
            self._chance,
            news=connection.pull.news,
            check=connection.check,
            greeted=lambda: connection.session.greetings,
            pace=self._pace,
            log=self._store.log,
            tell=self._tell,
        )
        self._shared.rows.when_declared(connection.pull.news.ring)
        lanes = [self._push(lane, self._way.uplink, connection.pull.news) for lane in ROW_LANES]
        return lanes, pull

    async def unsent(self, lane: Lane) -> int:
        """Edits of the lane's entities that the hub does not have."""
        return await self._shared.frames.unsent(lane)

    def _push(self, lane: Lane, uplink: Uplink, news: Bell) -> LanePush:
        shared = self._shared
        feed = RowFeed(
            lane,
            LINGER[lane],
            shared.frames,
            shared.pulled,
            self._store,
            shared.rows.changed,
            news=news,
            boot_id=self._clock.boot_id(),
            tell=self._tell,
        )
        return LanePush(
            feed, uplink, self._clock, self._chance, pace=self._pace, log=self._store.log,
            counts=self._counts.get(lane), tell=self._tell,
        )  # fmt: skip
