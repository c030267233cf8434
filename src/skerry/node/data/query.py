"""Reading stored records on the node by name and time: `GET /v1/records`, `sdk.query`, `skerry query` at the device.

There is no index but the segments' time spans: files outside of the asked time are not opened, frames in
which the name's fixed part does not occur are not decoded.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator

import msgspec

from skerry.kit.errors import InvalidInput
from skerry.kit.patterns import matches
from skerry.node.data.rows import check_kind, row
from skerry.node.store.records import RecordStore
from skerry.node.store.segments import Segment
from skerry.wire.codec import decode
from skerry.wire.people import Rows
from skerry.wire.records import INT64, Batch, Record
from skerry.wire.sync import RECORD_LANES, Lane

MAX_ROWS = 100_000


class Question(msgspec.Struct, frozen=True):
    """Records of any kind, or of one, whose name fits the pattern and with `since` <= at < `until` (ns)."""

    name: str
    kind: str | None
    since: int
    until: int
    limit: int

    @property
    def fixed_part(self) -> bytes:
        """The longest text that occurs in every name that fits."""
        return max(self.name.split("*"), key=len).encode()

    def overlaps(self, segment: Segment) -> bool:
        """Whether a record of this segment may be asked for."""
        return segment.times.earliest_at < self.until and segment.times.latest_at >= self.since

    def wants(self, batch: Batch, record: Record) -> bool:
        """Whether this record is asked for."""
        return (
            self.since <= record.at < self.until
            and self.kind in {None, batch.kind}
            and matches(self.name, record.name)
        )


class _Hit(msgspec.Struct, frozen=True, order=True):
    """In the order of time; a lane has each `n` once, so the records themselves never decide."""

    at: int
    lane: int
    n: int
    batch: Batch
    record: Record


class RecordQuery:
    """Answers questions about the records that are on this node."""

    def __init__(self, records: RecordStore, node: str) -> None:
        self._records = records
        self._node = node

    async def records(
        self, name: str, kind: str | None, since: int | None, until: int | None, limit: int
    ) -> Rows:
        """The newest `limit` matching rows, oldest first; since <= at < until, ns since 1970. Raises InvalidInput."""
        check_kind(kind)
        if not 1 <= limit <= MAX_ROWS:
            raise InvalidInput(f"cannot query with limit {limit}: use 1 to {MAX_ROWS}")
        question = Question(
            name,
            kind,
            -INT64 if since is None else since,
            INT64 if until is None else until,
            limit,
        )
        return await asyncio.to_thread(self._answer, question)

    def _answer(self, question: Question) -> Rows:
        newest: list[_Hit] = []
        truncated = False
        for index, lane in enumerate(RECORD_LANES):
            for segment in reversed(self._records.segments(lane)):
                if not question.overlaps(segment):
                    continue
                full = len(newest) == question.limit
                if full and truncated and segment.times.latest_at < newest[0].at:
                    continue
                for hit in self._hits(question, index, lane, segment):
                    if len(newest) < question.limit:
                        heapq.heappush(newest, hit)
                    else:
                        truncated = True
                        heapq.heappushpop(newest, hit)
        rows = [row(hit.batch, hit.record, self._node) for hit in sorted(newest)]
        return Rows(rows, truncated)

    def _hits(self, question: Question, index: int, lane: Lane, segment: Segment) -> Iterator[_Hit]:
        for frame in self._records.frames(lane, segment):
            if question.fixed_part not in frame.payload:
                continue
            batch = decode(frame.payload, Batch, f"record {frame.first} of {segment.path}")
            for n, record in enumerate(batch.records, frame.first):
                if question.wants(batch, record):
                    yield _Hit(record.at, index, n, batch, record)
