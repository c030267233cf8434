"""What somebody asks of sync now and then, loaded when that happens: a push and a pull, and the log of those before."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Refused
from skerry.node.store.sync_log import SyncLog
from skerry.node.sync.sync import Connection, Sync
from skerry.wire.rounds import SyncLogEntry, SyncLogPage, SyncRound
from skerry.wire.sync import Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_EVERY = 0.05


class _Start:
    """How things stood when somebody asked."""

    def __init__(self, connection: Connection, heads: Mapping[Lane, int], clock: Clock) -> None:
        self.at = clock.monotonic_ns()
        self.heads = heads
        self.sent = {lane: push.acknowledged.n for lane, push in connection.pushes.items()}
        self.refusals = {lane: push.counts.refusals for lane, push in connection.pushes.items()}
        self.pulls = [puller.counts for puller in connection.session.pullers]
        self.begun = [puller.begun for puller in connection.session.pullers]
        self.failures = connection.link.failures

    def has_gone(self, connection: Connection, lane: Lane, waiting: Mapping[Lane, int]) -> bool:
        """Whether the hub has what the lane had. Lanes of rows count frames, and do not know beforehand how many it will be."""
        has_all = connection.pushes[lane].settled.n >= self.heads.get(lane, 0)
        return has_all or not waiting.get(lane, 0)

    def is_refused(self, connection: Connection, lane: Lane) -> bool:
        """Whether the hub has refused something of the lane since."""
        return connection.pushes[lane].counts.refusals > self.refusals[lane]

    def pull_is_done(self, connection: Connection, *, held: bool) -> bool:
        """Whether a pull of each kind has begun and ended since, or may not begin because only high priority goes."""
        return all(
            (held and puller.may_be_held)
            or puller.ended > begun
            or puller.counts.refusals > before.refusals
            for before, begun, puller in zip(
                self.pulls, self.begun, connection.session.pullers, strict=False
            )
        )

    def pulled(self, connection: Connection) -> int:
        """Rows that have come since."""
        came = sum(puller.counts.rows for puller in connection.session.pullers)
        return came - sum(before.rows for before in self.pulls)


def log_page(log: SyncLog, limit: int) -> SyncLogPage:
    """The newest lines, oldest first. Blocks shortly."""
    return SyncLogPage([_entry(row) for row in log.newest(limit)])


def _entry(row: sqlite3.Row) -> SyncLogEntry:
    return SyncLogEntry(
        row["timestamp"], row["operation"], row["entity_type"], row["entity_id"], row["status"],
        msgspec.Raw(row["details"].encode()),
    )  # fmt: skip


async def sync_now(sync: Sync, clock: Clock, patience: float) -> SyncRound:
    """Says hello, pushes what waits and pulls; returns when that has ended, or after `patience` seconds.

    Raises Refused on a node without a hub.
    """
    connection = sync.connection
    if connection is None:
        raise Refused(f"cannot sync: {sync.reachability.status.cause}")
    start = _Start(connection, await _heads(sync), clock)
    for push in connection.pushes.values():
        push.hurry()
    sync.hurry()
    for puller in connection.session.pullers:
        puller.hurry()
    connection.check.ring()
    lanes = await _moving(sync, connection)
    while _left(start, clock, patience) and not await _is_over(sync, connection, start, lanes):
        await clock.sleep(_LOOK_EVERY)
        lanes = await _moving(sync, connection)
    return await _report(sync, connection, start, clock, lanes)


def _left(start: _Start, clock: Clock, patience: float) -> bool:
    return clock.monotonic_ns() - start.at < patience * NS


async def _is_over(sync: Sync, connection: Connection, start: _Start, lanes: list[Lane]) -> bool:
    if not sync.connected:
        return connection.link.failures > start.failures
    waiting = await sync.waiting()
    done = all(
        start.has_gone(connection, lane, waiting) or start.is_refused(connection, lane)
        for lane in lanes
    )
    return done and start.pull_is_done(connection, held=_is_held(sync))


async def _heads(sync: Sync) -> dict[Lane, int]:
    return {lane.lane: lane.head for lane in (await sync.status()).lanes}


async def _moving(sync: Sync, connection: Connection) -> list[Lane]:
    """The lanes that may be sent now."""
    turns = sync.turns
    if turns is None or not _is_held(sync):
        return list(connection.pushes)
    return [lane for lane in connection.pushes if turns.of_lane(lane) == "high"]


def _is_held(sync: Sync) -> bool:
    return sync.turns is not None and bool(sync.turns.held)


async def _report(
    sync: Sync, connection: Connection, start: _Start, clock: Clock, lanes: list[Lane]
) -> SyncRound:
    status = await sync.status()
    problems = connection.session.problems
    if not sync.connected:
        problems = [status.link.cause]
    elif not (start.pull_is_done(connection, held=_is_held(sync)) or problems):
        problems = ["the hub was not asked for changes in time"]
    waiting = {lane.lane: lane.waiting for lane in status.lanes}
    late = [lane for lane in lanes if not start.has_gone(connection, lane, waiting)]
    if late and not problems:
        problems = [f"not all of lane «{lane}» went in time" for lane in late]
    return SyncRound(
        ok=not problems,
        seconds=(clock.monotonic_ns() - start.at) / NS,
        sent={
            lane: max(push.acknowledged.n - start.sent[lane], 0)
            for lane, push in connection.pushes.items()
        },
        pulled=start.pulled(connection),
        waiting=waiting,
        problems=problems,
        held="" if status.network is None else status.network.only_high,
    )
