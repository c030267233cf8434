"""What the record store itself has to say about records: gaps, damaged files, records freed early. All of it goes to lane `event`."""

from __future__ import annotations

import hashlib

from skerry.kit.clock import Clock
from skerry.kit.ids import random_token
from skerry.node.store.lane_log import LaneLog, cut
from skerry.node.store.lane_recovery import Lost
from skerry.node.store.segments import Segment
from skerry.wire.records import Batch, Kind, Meta, Record, Value
from skerry.wire.sync import Lane

NODE = "skerry"
"""The source of records that the node itself writes."""


class OwnRecords:
    """Stages the store's own records, to which limits do not apply; also numbers records that come without a session."""

    def __init__(self, events: LaneLog, clock: Clock) -> None:
        self.session = random_token()
        self._counter = 0
        self._events = events
        self._clock = clock

    def number(self, count: int) -> int:
        """The first of `count` numbers in `session` that nothing else will have."""
        first = self._counter + 1
        self._counter += count
        return first

    def note(self, name: str, value: Value, meta: Meta) -> None:
        """Stages an event of now."""
        self._stage("event", self.session, self.number(1), self._record(name, value, meta, None))

    def gap(self, lane: Lane, lost: Lost, segment: Segment, cause: str) -> None:
        """A gap's identity follows from what is lost: told again after a crash, it is the same record."""
        identity = f"{lane} {segment.first} {segment.previous} {lost.last}"
        session = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        if self._events.last_counter(session):
            return
        meta: Meta = {
            "from_n": lost.first,
            "to_n": lost.last,
            "from": lost.since,
            "to": lost.until,
            "cause": cause,
        }
        record = self._record(lane, lost.count, meta, lost.until or lost.since)
        self._stage("gap", session, 1, record)

    def _record(self, name: str, value: Value, meta: Meta, at: int | None) -> Record:
        return Record(0, name, at or self._clock.wall_ns(), value, meta)

    def _stage(self, kind: Kind, session: str, counter: int, record: Record) -> None:
        now, monotonic = self._clock.wall_ns(), self._clock.monotonic_ns()
        batch = Batch(kind, NODE, session, counter, now, monotonic, "unsynced", [record])
        self._events.stage(cut(batch))
