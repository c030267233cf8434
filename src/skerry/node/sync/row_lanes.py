"""The sync of shared rows as one part: three lanes that push edits and a loop that pulls. Joins a running `sync.Sync`.

Loaded with the first shared entity, and never where there is none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec

from skerry.core.entity_words import overruled
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.node.ports import RoundHub, RowHub, Uplink
from skerry.node.store.shared_frames import MAX_FRAME, SharedFrames
from skerry.node.store.shared_pulled import SharedPulled
from skerry.node.store.shared_rows import SharedRows
from skerry.node.store.state import NodeStore
from skerry.node.sync.pace import Pace, Tell, untold
from skerry.node.sync.push import LanePush
from skerry.node.sync.row_feed import RowFeed
from skerry.node.sync.row_pull import PAGE, PAGE_OF_LIMITED, RowPull
from skerry.node.sync.row_schedule import RowSchedule
from skerry.node.sync.session import Puller
from skerry.node.sync.sync import LINGER, Connection
from skerry.node.sync.together import Together
from skerry.wire.local import EntityStatus, LaneCounters
from skerry.wire.shared import DECLARATIONS, Priority
from skerry.wire.sync import ROW_LANES, Lane


class Shared(msgspec.Struct, frozen=True):
    """The shared rows of one store: edits, what is sent, what came."""

    rows: SharedRows
    frames: SharedFrames
    pulled: SharedPulled


class Way(msgspec.Struct, frozen=True):
    """The hub, both for pushes and for questions about rows. `by_class`: on a limited link, for each class of entities.

    `together`: for the state and rows in one request, where nothing limits the link.
    """

    uplink: Uplink
    rows: RowHub
    by_class: Mapping[Priority, RowHub] = {}
    together: RoundHub | None = None


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
        most: int = MAX_FRAME,
        counts: Mapping[Lane, LaneCounters] | None = None,
        tell: Tell = untold,
        schedule: RowSchedule | None = None,
    ) -> None:
        """`most` is the size of a unit before compression."""
        self._most = most
        self._schedule = schedule
        self._counts = counts or {}
        self._tell = tell
        self._shared = shared
        self._store = store
        self._way = way
        self._clock = clock
        self._chance = chance
        self._pace = pace

    def connect(self, connection: Connection) -> tuple[list[LanePush], list[Puller]]:
        """What pushes the lanes, and what pulls beside them. Only with a hub.

        On a limited link each class is pulled for itself, so that one that may not go keeps none back.
        """
        way = self._way
        assert way is not None  # noqa: S101 - a node with a connection has a hub
        rows = way.rows
        if way.together is not None:
            rows = connection.pull.company = Together(way.uplink, rows, way.together)
        classes: list[tuple[Priority | None, RowHub]] = [*way.by_class.items()] or [(None, rows)]
        pulls: list[Puller] = [self._pull(connection, hub, priority) for priority, hub in classes]
        news = connection.session.row_news
        self._shared.rows.when_declared(news.ring)
        return [self._push(lane, way.uplink, news) for lane in ROW_LANES], pulls

    def _pull(self, connection: Connection, hub: RowHub, priority: Priority | None) -> RowPull:
        return RowPull(
            hub,
            self._shared.rows,
            self._shared.pulled,
            self._clock,
            self._chance,
            news=connection.session.row_news,
            check=connection.check,
            greeted=lambda: connection.session.greetings,
            pace=self._pace,
            log=self._store.log,
            limit=PAGE if self._most == MAX_FRAME else PAGE_OF_LIMITED,
            tell=self._tell,
            schedule=self._schedule,
            priority=priority,
        )

    def hurry(self) -> None:
        """Edits that wait for their schedule go now, and the hub is asked."""
        if self._schedule is not None:
            self._schedule.come_now()
            self._shared.rows.changed.ring()

    async def entities(self) -> list[EntityStatus]:
        """Those that somebody has declared, the urgent ones first."""
        rows, schedule = self._shared.rows, self._schedule
        return [
            EntityStatus(
                entity,
                how.strategy,
                how.priority,
                how.batch_size,
                await rows.unsent(entity),
                None if schedule is None else schedule.of(entity),
                overruled(rows.words(entity), rows.said[entity]),
            )
            for entity, how in rows.declared.items()
            if entity != DECLARATIONS
        ]

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
            most=self._most,
            tell=self._tell,
        )
        return LanePush(
            feed, uplink, self._clock, self._chance, pace=self._pace, log=self._store.log,
            counts=self._counts.get(lane), tell=self._tell,
        )  # fmt: skip
