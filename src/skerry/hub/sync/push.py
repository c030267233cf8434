"""Takes push units: each is checked, admitted and applied in one transaction with its lane's point.

`core.lanes` decides what a unit means, `sync.merge` which state rows win; records go to the
`RecordSink`, what a node says about itself to the `Roster`. The reply leaves after the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from skerry.core.entities import ENTITIES
from skerry.core.lanes import Admit, Diverged, Gap, admit
from skerry.hub.store import changes, locks, rows
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.shared_answers import Whose
from skerry.hub.sync import points, rows_push
from skerry.hub.sync.declarations import HELD_BY_NONE, Declarations
from skerry.hub.sync.frames import Frames, info_of, read_frames
from skerry.hub.sync.merge import Key, Merged, keys_of, merge
from skerry.wire.codec import encode
from skerry.wire.records import Batch, Meta, Record
from skerry.wire.shared import DECLARATIONS
from skerry.wire.sync import (
    RECORD_LANES,
    ROW_LANES,
    Lane,
    LanePoint,
    PushReply,
    PushUnit,
    StateRow,
)
from skerry.wire.workload import NodeInfo

GAP_SOURCE = "hub"
"""The source of the gap records that the hub itself writes; their name is «sync.<lane>.skipped»."""


class RecordSink(Protocol):
    """Takes record batches (`data.ingest.Ingest`)."""

    def ingest(
        self,
        connection: Connection,
        node_id: str,
        boot_id: str,
        received_at: int,
        batches: Sequence[Batch],
    ) -> Callable[[], None]:
        """Writes the batches' records, each once; returns what is to be called after the commit."""
        ...


class Roster(Protocol):
    """Takes what a node says about itself (`fleet.nodes.Nodes`)."""

    def learn(
        self, connection: Connection, node_id: str, info: NodeInfo, before: NodeInfo | None
    ) -> bool:
        """Returns True when the node has news to pull because of it; `before` is what it said last."""
        ...


@dataclass(frozen=True)
class _Arrival:
    """A unit whose frames were read; `at` is when, in ns since 1970."""

    node_id: str
    unit: PushUnit
    frames: Frames
    at: int


@dataclass(frozen=True)
class _Taken:
    reply: PushReply
    committed: Callable[[], None] | None = None
    news: bool = False
    entities: Collection[str] = ()
    """Of shared rows that changed."""
    by_hub: bool = False
    """Some of them by the hub, so that the node does not know it."""


_Taker = Callable[[Connection, _Arrival, int, _Taken], _Taken]
"""Applies the frames of one kind of lane from a place on, and says more in the answer."""


class Receiver:
    """`notify` is called with the node's id, after the commit, when what it pushed brings it news.

    `shared` is called with the entities whose rows it changed, and its own id.
    """

    def __init__(
        self,
        store: HubStore,
        records: RecordSink,
        roster: Roster,
        notify: Callable[[str], None],
        shared: Callable[[Collection[str], str], None],
        declarations: Declarations = HELD_BY_NONE,
    ) -> None:
        self._declarations = declarations
        self._takers: dict[Lane, _Taker] = {
            **dict.fromkeys(RECORD_LANES, _taken_already),
            **dict.fromkeys(ROW_LANES, self._take_rows),
            "state": self._take_states,
        }
        self._store = store
        self._records = records
        self._roster = roster
        self._notify = notify
        self._shared = shared

    async def receive(self, node_id: str, unit: PushUnit, received_at: int) -> PushReply:
        """Applies what is new in `unit`, received at `received_at` (ns since 1970).

        Raises InvalidInput for frames that cannot be read, Refused for rows that a node may not write.
        """
        arrival = _Arrival(node_id, unit, read_frames(node_id, unit), received_at)
        taken = await self._store.write(lambda connection: self._take(connection, arrival))
        if taken.committed is not None:
            taken.committed()
        if taken.news:
            self._notify(node_id)
        if taken.entities:
            self._shared(taken.entities, "" if taken.by_hub else node_id)
            await asyncio.sleep(0)  # the news leave before the answer is made
        return taken.reply

    def _take(self, connection: Connection, arrival: _Arrival) -> _Taken:
        unit = arrival.unit
        locks.of_node(connection, arrival.node_id)
        lane = points.read(connection, arrival.node_id, unit.incarnation)[unit.lane]
        held, backed_up = lane.point, lane.backed_up
        match admit(held, unit, arrival.frames.sizes):
            case Gap(point):
                return _Taken(PushReply("gap", point, arrival.at, backed_up))
            case Diverged(point):
                return _Taken(PushReply("diverged", point, arrival.at))
            case Admit(start, point):
                gap = self._gap(connection, arrival, held)
                if point != held:
                    points.write(
                        connection, arrival.node_id, unit.incarnation, unit.lane, point, arrival.at
                    )
                committed = self._ingest(
                    connection, arrival, [*gap, *arrival.frames.batches[start:]]
                )
                taken = _Taken(PushReply("ok", point, arrival.at, backed_up), committed)
                return self._takers[unit.lane](connection, arrival, start, taken)

    def _gap(self, connection: Connection, arrival: _Arrival, held: LanePoint) -> list[Batch]:
        """What the node says it no longer holds, as a record that people can see.

        An incarnation that begins in the middle is a store that was put back from a copy: what lies
        before came from the incarnation before it, up to where that one had got.
        """
        unit = arrival.unit
        if unit.first <= held.n + 1:
            return []
        known = held.n or points.highest(connection, arrival.node_id, unit.lane)
        return gap_batch(unit, known + 1, arrival.at)

    def _ingest(
        self, connection: Connection, arrival: _Arrival, batches: list[Batch]
    ) -> Callable[[], None] | None:
        if not batches:
            return None
        return self._records.ingest(
            connection, arrival.node_id, arrival.unit.boot_id, arrival.at, batches
        )

    def _take_states(
        self, connection: Connection, arrival: _Arrival, start: int, taken: _Taken
    ) -> _Taken:
        answered, news = self._merge(connection, arrival, start)
        return replace(taken, reply=msgspec.structs.replace(taken.reply, rows=answered), news=news)

    def _take_rows(
        self, connection: Connection, arrival: _Arrival, start: int, taken: _Taken
    ) -> _Taken:
        unit, frames = arrival.unit, arrival.frames.edits
        lane = Whose(arrival.node_id, unit.incarnation, unit.lane)
        brought = rows_push.take_declarations(
            connection, frames[start:], arrival.node_id, arrival.at
        )
        by_hub = self._declarations.hold(connection, brought, arrival.at)
        rows = rows_push.take(connection, lane, unit.first, frames, start, arrival.at)
        told = {"revs": rows.revs, "judged": msgspec.Raw(encode(rows.judged))}
        if DECLARATIONS in rows.entities:
            declared = [
                edit.id for each in frames if each.entity == DECLARATIONS for edit in each.edits
            ]
            by_hub = self._declarations.hold(connection, declared, arrival.at) or by_hub
        reply = msgspec.structs.replace(taken.reply, **told)
        entities = {*rows.entities, DECLARATIONS} if brought else rows.entities
        return replace(taken, reply=reply, entities=entities, by_hub=by_hub)

    def _merge(
        self, connection: Connection, arrival: _Arrival, start: int
    ) -> tuple[list[StateRow], bool]:
        """Applies new state frames; answers every row that the unit speaks of, so a repeat learns them too."""
        frames = arrival.frames.states
        keys = keys_of(frames)
        if not keys:
            return [], False
        held = _held(connection, arrival.node_id, keys)
        merged = merge(held, frames[start:], arrival.node_id, arrival.at)
        numbered = _save(connection, arrival, merged)
        news = False
        for row in numbered.values():
            if row.entity == "node" and not row.deleted:
                before = held.get((row.entity, row.id))
                told = None if before is None or before.deleted else info_of(before)
                news = self._roster.learn(connection, arrival.node_id, info_of(row), told)
        return [{**merged.rows, **numbered}[key] for key in keys], news


def _taken_already(_c: Connection, _arrival: _Arrival, _start: int, taken: _Taken) -> _Taken:
    """Records were ingested together with what says which are missing."""
    return taken


def gap_batch(unit: PushUnit, first_missing: int, at: int) -> list[Batch]:
    """One gap record for the numbers from `first_missing` to just before the unit, if there are any.

    Its identity comes from the incarnation and the number, so taking the same gap twice is one record.
    """
    missing = unit.first - first_missing
    if missing <= 0:
        return []
    meta: Meta = {"first": first_missing, "last": unit.first - 1, "incarnation": unit.incarnation}
    record = Record(0, f"sync.{unit.lane}.skipped", at, missing, meta)
    return [Batch("gap", GAP_SOURCE, unit.incarnation, unit.first, at, 0, "synced", [record])]


def _held(connection: Connection, node_id: str, keys: list[Key]) -> dict[Key, StateRow]:
    wanted = set(keys)
    query = rows.in_scope(node_id, {entity for entity, _ in keys})
    bodies = Bodies.of(connection)
    found = [rows.to_wire(bodies, row) for row in connection.execute(query)]
    return {(row.entity, row.id): row for row in found if (row.entity, row.id) in wanted}


def _save(connection: Connection, arrival: _Arrival, merged: Merged) -> dict[Key, StateRow]:
    """Numbers and writes the rows that won. Rows that only nodes write are not for pulling: no change."""
    if not merged.changed:
        return {}
    first = changes.allot(connection, len(merged.changed))
    numbered = {
        key: msgspec.structs.replace(merged.rows[key], rev=rev)
        for rev, key in enumerate(merged.changed, first)
    }
    rows.write(
        connection, [rows.Scoped(arrival.node_id, row) for row in numbered.values()], arrival.at
    )
    shared = [row for row in numbered.values() if ENTITIES[row.entity].writer == "both"]
    changes.append(
        connection,
        [changes.Change(r.rev, arrival.node_id, r.entity, r.id, arrival.node_id) for r in shared],
        arrival.at,
    )
    return numbered
