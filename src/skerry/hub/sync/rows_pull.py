"""Answers what nodes ask about shared rows: changes after their cursors, buckets that differ, and rows by their ids.

A row travels in its newest version. What the asking node made itself it knows from the answer to its push, so that is
left out, except for a node that begins. When a node was at the end of an entity's feed, the hub knows which version
of a large row it holds, and sends a patch.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import Literal

import msgspec
from sqlalchemy import Connection

from skerry.core import merging
from skerry.core.row_digests import bucket_of, digest
from skerry.hub.store import shared, shared_feed
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared import Stored
from skerry.hub.store.shared_feed import AROUND, Commits, Room, Size, fit
from skerry.hub.sync import row_cursors
from skerry.hub.sync.epochs import Epochs
from skerry.hub.sync.readers import Readers
from skerry.hub.sync.row_cursors import Place, Verdict
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput
from skerry.wire.shared import (
    BUCKETS,
    Buckets,
    BucketsReply,
    Held,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
    SharedRow,
)

MAX_ROWS = 10_000

MAX_PAGE = 1024 * 1024
"""Bytes of one answer's bodies before compression, unless a single one is larger: hub and node hold it in memory."""

PATCHED_FROM = 1024
"""Bytes of a body from which a patch is tried."""

BUCKETS_AT_ONCE = 16

_HELD = 64
"""Bytes of a row in a bucket besides its id."""


class _Lost(Exception):
    """A node's cursor is of a history that nobody knew to be lost."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class RowFeed:
    """Answers nodes' pulls of shared rows."""

    def __init__(self, store: HubStore, epochs: Epochs, readers: Readers, clock: Clock) -> None:
        self._store = store
        self._epochs = epochs
        self._readers = readers
        self._clock = clock

    async def answer(self, node_id: str, pull: RowsPull) -> RowsPage:
        """The entities in the order of the question, as far as one answer carries. An unusable cursor is no error."""
        self.begin(node_id, pull)
        while True:
            try:
                parts = await self._store.read(lambda c: self._parts(c, node_id, pull))
            except _Lost as lost:
                await self._start_epoch(lost.place)
            else:
                return RowsPage(parts, self._clock.wall_ns())

    def begin(self, node_id: str, pull: RowsPull) -> None:
        """The node hears of what changes from now on: before the moment of which it is told what there is."""
        self._readers.pulled(node_id, pull.cursors)

    def answer_within(
        self, connection: Connection, node_id: str, pull: RowsPull
    ) -> RowsPage | None:
        """As `answer`, in a snapshot of the caller's, who has called `begin`; None where that takes more than reading."""
        try:
            return RowsPage(self._parts(connection, node_id, pull), self._clock.wall_ns())
        except _Lost:
            return None

    async def buckets(self, asked: Buckets) -> BucketsReply:
        """The rows of the buckets whose sums differ. Raises InvalidInput."""
        if len(asked.sums) != BUCKETS:
            raise InvalidInput(f"cannot compare buckets: send {BUCKETS} sums")
        return await self._store.read(lambda connection: _buckets(connection, asked))

    async def wanted(self, asked: RowsWanted) -> RowsPart:
        """Whole rows, in the order of their ids in the question."""
        return await self._store.read(lambda connection: _wanted(connection, asked))

    def _parts(self, connection: Connection, node_id: str, pull: RowsPull) -> list[RowsPart]:
        room = Room(min(max(pull.limit, 1), MAX_ROWS), _page_of(pull.most))
        asked = _Asked(connection, node_id, pull.cursors, self._store.facts.cursor_key)
        parts: list[RowsPart] = []
        for entity, cursor in pull.cursors.items():
            if parts:
                room = _left(room, parts[-1])
                if room.rows <= 0 or room.size <= 0:
                    break
            few = Room(min(room.rows, max(pull.limits.get(entity, MAX_ROWS), 1)), room.size)
            parts.append(_Answer(asked, entity).part(cursor, few))
        return parts

    async def _start_epoch(self, lost: Place) -> None:
        def still(connection: Connection) -> bool:
            return _verdict(Commits(connection), lost, 0) == "newly lost"

        await self._epochs.start(lost.epoch, still)


class _Asked:
    """What one question is answered from, in one snapshot: read once for all entities that it is about."""

    def __init__(
        self, connection: Connection, node_id: str, entities: Collection[str], key: bytes
    ) -> None:
        self.connection = connection
        self.node_id = node_id
        self.key = key
        self.commits = Commits(connection)
        self.standings = shared.standings(connection, entities)
        self._entities = entities

    @functools.cached_property
    def waiting(self) -> dict[str, list[str]]:
        """The rows of which an edit of the node waits, by entity."""
        return shared.waiting_of(self.connection, self._entities, self.node_id)


class _Answer:
    """To one node about one entity."""

    def __init__(self, asked: _Asked, entity: str) -> None:
        self._asked = asked
        self._connection = asked.connection
        self._node_id = asked.node_id
        self._entity = entity
        self._log = asked.commits.log
        self._standing = asked.standings[entity]

    def part(self, cursor: str, room: Room) -> RowsPart:
        """What follows `cursor`, as much as there is room for."""
        log = self._log
        if not cursor:
            begin = Place(log.epoch, 0, "", log.seq, log.seq)
            return self._page(begin, room, live=True)
        place = row_cursors.read(cursor, self._node_id, self._entity, self._asked.key)
        if place is None:
            return self._repair("lost")
        match _verdict(self._asked.commits, place, self._standing.pruned_through):
            case "newly lost":
                raise _Lost(place)
            case "lost":
                return self._repair("lost")
            case "horizon":
                return self._repair("horizon")
            case "follows":
                return self._page(place, room, live=False)

    def _repair(self, why: Literal["horizon", "lost"]) -> RowsPart:
        """The cursor goes on from here: what is compared after this answer is no older."""
        cursor = self._cursor(self._log.seq, self._log.seq)
        sums = digest(self._standing.sums)
        return RowsPart(self._entity, [], cursor, more=False, digest=sums, repair=why)

    def _page(self, place: Place, room: Room, *, live: bool) -> RowsPart:
        hidden = "" if place.seq < place.floor else self._node_id
        rows: list[Stored] = []
        more = False
        if self._standing.newest > place.seq:
            rows, more = shared_feed.page(
                self._connection, self._entity, place.seq, room, hidden=hidden, live=live
            )
        knows = bool(place.at_end and place.seq)
        sent = [self._sent(place, row) if knows else row.to_wire() for row in rows]
        if not more:
            return self._end(place, sent)
        cursor = self._cursor(rows[-1].rev, place.floor)
        return RowsPart(self._entity, sent, cursor, more=True)

    def _end(self, place: Place, sent: list[SharedRow]) -> RowsPart:
        cursor = self._cursor(self._log.seq, place.floor)
        waiting = self._asked.waiting.get(self._entity, [])
        sums = digest(self._standing.sums)
        return RowsPart(self._entity, sent, cursor, more=False, digest=sums, waiting=waiting)

    def _cursor(self, seq: int, floor: int) -> str:
        tag = self._asked.commits.tag_of(self._log.seq) or ""
        place = Place(self._log.epoch, seq, tag, self._log.seq, floor)
        return row_cursors.write(place, self._node_id, self._entity, self._asked.key)

    def _sent(self, place: Place, row: Stored) -> SharedRow:
        """A patch, where the version that the node held at `place` is kept and a patch is smaller."""
        whole = row.to_wire()
        if row.deleted or len(row.body) < PATCHED_FROM:
            return whole
        held = shared_feed.held_by(self._connection, self._entity, row.id, place.seq, self._node_id)
        patch = None if held is None else merging.diff(held.body, row.body)
        if held is None or patch is None:
            return whole
        return msgspec.structs.replace(whole, body=msgspec.Raw(patch), base=held.rev)


def _left(room: Room, part: RowsPart) -> Room:
    size = sum(len(memoryview(row.body)) + AROUND for row in part.rows)
    return Room(room.rows - len(part.rows), room.size - size)


def _verdict(commits: Commits, place: Place, pruned_through: int) -> Verdict:
    tag = commits.tag_of(place.head)
    return row_cursors.verdict(place, commits.log, tag, pruned_through)


def _buckets(connection: Connection, asked: Buckets) -> BucketsReply:
    own = shared.standing(connection, asked.entity).sums
    differing = [bucket for bucket in range(BUCKETS) if own[bucket] != asked.sums[bucket]]
    found: dict[int, list[Held]] = {bucket: [] for bucket in differing[:BUCKETS_AT_ONCE]}
    if found:
        chosen = _chosen(shared_feed.ids(connection, asked.entity), found, asked.most)
        for row in shared.heads(connection, asked.entity, chosen).values():
            found[bucket_of(row.id)].append(Held(row.id, row.rev, row.hlc, row.mark))
    return BucketsReply(found, len(differing) > len(found))


def _chosen(ids: Sequence[str], found: dict[int, list[Held]], most: int) -> list[str]:
    """The ids in the buckets of `found`; of these, the ones for which there is no room are taken out, but one stays."""
    sizes = dict.fromkeys(found, 0)
    chosen = [row_id for row_id in ids if bucket_of(row_id) in sizes]
    for row_id in chosen:
        sizes[bucket_of(row_id)] += len(row_id) + _HELD
    through = accumulate(sizes.values())
    for number, (bucket, size) in enumerate(zip(list(found), through, strict=True)):
        if number and most and size > most:
            del found[bucket]
    return [row_id for row_id in chosen if bucket_of(row_id) in found]


def _page_of(most: int) -> int:
    return min(most, MAX_PAGE) if most > 0 else MAX_PAGE


def _wanted(connection: Connection, asked: RowsWanted) -> RowsPart:
    ids = list(dict.fromkeys(asked.ids))
    sizes = shared_feed.sizes_of(connection, asked.entity, ids)
    there = [row_id for row_id in ids if row_id in sizes]
    room = Room(MAX_ROWS, _page_of(asked.most))
    page = fit([Size(0, sizes[row_id]) for row_id in there], room)
    sent = there[: len(page)]
    rows = shared.rows(connection, asked.entity, sent)
    wire = [rows[row_id].to_wire() for row_id in sent]
    return RowsPart(asked.entity, wire, "", more=len(sent) < len(there))
