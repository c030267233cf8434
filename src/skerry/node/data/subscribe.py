"""Following records on the node as they are accepted: each subscription reads the segments at its own pace.

Nothing is queued for anybody. A subscription is three numbers (its place in each lane) and a bell to wait
for, so a slow reader slows only itself and a reader that was away goes on from its cursor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.one_line import one_line
from skerry.kit.patterns import matches
from skerry.node.data.rows import check_kind, row
from skerry.node.store.lane_reader import StoredFrame
from skerry.node.store.records import RecordStore
from skerry.wire.codec import decode
from skerry.wire.records import Batch, Row
from skerry.wire.sync import RECORD_LANES, Lane

_MAX_RECORDS = 1000
_MAX_BYTES = 64 * 1024

Places = dict[Lane, int]


def encode_cursor(places: Places) -> str:
    """The number of the last record seen in each lane, as an opaque word."""
    return ".".join(f"{places[lane]:x}" for lane in RECORD_LANES)


def decode_cursor(cursor: str) -> Places:
    """Raises InvalidInput when `cursor` was not made by `encode_cursor`."""
    words = cursor.split(".")
    try:
        places = dict(zip(RECORD_LANES, (int(word, 16) for word in words), strict=True))
    except ValueError as error:
        raise _wrong(cursor) from error
    if any(place < 0 for place in places.values()):
        raise _wrong(cursor)
    return places


def _wrong(cursor: str) -> InvalidInput:
    return InvalidInput(
        f"cannot subscribe from cursor «{one_line(cursor[:80])}»: use the cursor of a row that this node gave, or none"
    )


class Subscription:
    """An endless async iterator of rows. It begins where it was made; `cursor` is that place."""

    def __init__(
        self, records: RecordStore, node: str, name: str, kind: str | None, places: Places
    ) -> None:
        self._records = records
        self._node = node
        self._name = name
        self._kind = kind
        self._places = places
        self._rows: deque[Row] = deque()
        self.cursor = encode_cursor(places)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Row:
        while not self._rows:
            seen = self._records.bell.count
            if not await asyncio.to_thread(self._read_on):
                await self._records.bell.after(seen)
        return self._rows.popleft()

    def _read_on(self) -> bool:
        """Reads a little of each lane; False when there was nothing new."""
        found = False
        for lane in RECORD_LANES:
            try:
                span = self._records.read(lane, self._places[lane], _MAX_RECORDS, _MAX_BYTES)
            except Transient:
                continue  # a damaged file is being put right; the bell rings when that is done
            if span is not None:
                found = True
                for frame in span.frames:
                    self._rows.extend(self._take(lane, frame))
        return found

    def _take(self, lane: Lane, frame: StoredFrame) -> Iterator[Row]:
        batch = decode(frame.payload, Batch, f"record {frame.first} of lane «{lane}»")
        wanted = self._kind in {None, batch.kind}
        for n, record in enumerate(batch.records, frame.first):
            if n > self._places[lane]:
                self._places[lane] = n
                if wanted and matches(self._name, record.name):
                    yield row(batch, record, self._node, encode_cursor(self._places))


class Subscriptions:
    """Makes subscriptions to the records of this node."""

    def __init__(self, records: RecordStore, node: str) -> None:
        self._records = records
        self._node = node

    def subscribe(
        self, name: str = "*", kind: str | None = None, cursor: str | None = None
    ) -> Subscription:
        """Records whose name fits the pattern `name`, from after `cursor`, or from this moment on.

        Order is kept within a lane (events, keep, sample), not between lanes. Raises InvalidInput.
        """
        check_kind(kind)
        heads: Places = {lane: self._records.head(lane).n for lane in RECORD_LANES}
        places = heads
        if cursor:
            wanted = decode_cursor(cursor)  # a place beyond the end: the store was put back
            places = {lane: min(wanted[lane], heads[lane]) for lane in RECORD_LANES}
        return Subscription(self._records, self._node, name, kind, places)
