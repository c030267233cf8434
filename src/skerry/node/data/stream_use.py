"""How many bytes the records of each stream take: counted from the segment files, in a thread. Loaded when needed.

A frame holds one batch of one publisher, often of several names: its bytes are divided evenly among its records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from skerry.node.store.records import RecordStore
from skerry.node.store.segments import OVERHEAD, Segment
from skerry.wire.codec import decode
from skerry.wire.records import Batch
from skerry.wire.sync import RECORD_LANES, Lane

READ_AT_MOST = 16_000_000
"""Bytes of each lane that are counted one by one; the rest is reckoned from them."""

Stream = tuple[str, str]
"""(name, source)"""


class Use(msgspec.Struct):
    """The records of one stream in some files. Times are the records' own, in ns."""

    records: float = 0
    bytes: float = 0
    oldest: int = 2**63
    newest: int = -(2**63)

    def add(self, other: Use, times: float = 1.0) -> None:
        """Takes another one in, `times` as much."""
        self.records += other.records * times
        self.bytes += other.bytes * times
        self.oldest = min(self.oldest, other.oldest)
        self.newest = max(self.newest, other.newest)


def in_file(records: RecordStore, lane: Lane, segment: Segment) -> dict[Stream, Use]:
    """The streams of one file."""
    found: dict[Stream, Use] = {}
    for frame in records.frames(lane, segment):
        batch = decode(frame.payload, Batch, f"record {frame.first} of {segment.path}")
        share = (OVERHEAD + len(frame.payload)) / max(len(batch.records), 1)
        for record in batch.records:
            use = found.setdefault((record.name, batch.source), Use())
            use.add(Use(1, share, record.at, record.at))
    return found


def in_all(records: RecordStore) -> tuple[dict[Stream, Use], float]:
    """The streams of all lanes, and which part of the bytes was counted rather than reckoned."""
    total: dict[Stream, Use] = {}
    read = size = 0
    for lane in RECORD_LANES:
        segments = records.segments(lane)
        chosen = spread(segments, READ_AT_MOST)
        counted = sum(segment.size for segment in chosen)
        whole = sum(segment.size for segment in segments)
        for stream, use in _in_files(records, lane, chosen):
            total.setdefault(stream, Use()).add(use, whole / counted if counted else 1.0)
        read, size = read + counted, size + whole
    return total, read / size if size else 1.0


def spread(segments: Sequence[Segment], most: int) -> list[Segment]:
    """Files of about `most` bytes together, evenly spread over the lane; all when they are no more."""
    size = sum(segment.size for segment in segments)
    if size <= most:
        return list(segments)
    count = max(most * len(segments) // size, 1)
    return [segments[at * len(segments) // count] for at in range(count)]


def _in_files(
    records: RecordStore, lane: Lane, segments: Sequence[Segment]
) -> Iterator[tuple[Stream, Use]]:
    for segment in segments:
        yield from in_file(records, lane, segment).items()
