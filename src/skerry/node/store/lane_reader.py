"""Reading a lane while it is being written: for push, subscribe and query, from any thread.

Works on the immutable `LaneView` of the moment and on bytes that were synced, so it needs no lock against
the writer. Where the last reads ended is remembered, because readers nearly always go on from there.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

import msgspec

from skerry.core.lanes import extend
from skerry.kit.errors import Transient
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.lane_log import LaneView
from skerry.node.store.segments import HEADER, Frame, Hole, Segment, scan
from skerry.wire.sync import LanePoint

_REMEMBERED = 256


class StoredFrame(msgspec.Struct, frozen=True):
    """A frame as it is pushed: `payload` is the JSON of one `wire.records.Batch` with `count` records.

    Its first record is number `first` of the lane; `previous` is the lane's chain just before it.
    """

    first: int
    count: int
    previous: str
    payload: bytes

    @property
    def last(self) -> int:
        """The number of its last record."""
        return self.first + self.count - 1


class Span(msgspec.Struct, frozen=True):
    """Consecutive frames of one boot, at least one."""

    boot_id: str
    frames: tuple[StoredFrame, ...]

    @property
    def first(self) -> int:
        """The number of the first record."""
        return self.frames[0].first

    @property
    def last(self) -> int:
        """The number of the last record."""
        return self.frames[-1].last

    @property
    def previous(self) -> str:
        """The lane's chain just before `first`."""
        return self.frames[0].previous

    @property
    def point(self) -> LanePoint:
        """The lane's point just after `last`."""
        end = self.frames[-1]
        return LanePoint(end.last, extend(end.previous, end.payload))


class LaneReader:
    """Reads one lane. `view` gives its present state; `on_damage` is told a segment whose bytes are bad."""

    def __init__(
        self,
        view: Callable[[], LaneView],
        cipher: FrameCipher,
        on_damage: Callable[[Segment], None],
    ) -> None:
        self._view = view
        self._cipher = cipher
        self._on_damage = on_damage
        self._ends: OrderedDict[tuple[int, bool, int], int] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, after: int, max_records: int, max_bytes: int) -> Span | None:
        """The frames that follow record `after`, as many as both limits allow and at least one.

        None: there are none. The first frame may begin later than `after` + 1 (what lay between is gone)
        or before it (`after` lies inside a frame). Raises Transient while a damaged file is being put right.
        """
        while (segment := self._segment_after(after)) is not None:
            try:
                span = self._span(segment, after, max_records, max_bytes)
            except FileNotFoundError:
                span = None
            if self._is_current(segment):
                if span is not None:
                    return span
                raise Transient(f"cannot read {segment.path}: it is damaged and being put right")
        return None

    def point_at(self, n: int) -> str | None:
        """The chain after record `n`; None when it is not here any more or `n` lies inside a frame."""
        view = self._view()
        if n == view.head.n:
            return view.head.chain
        for segment in view.segments:
            if n == segment.first - 1:
                return segment.previous
            if n == segment.last:
                return segment.chain
            if segment.first <= n < segment.last:
                return self._chain_inside(segment, n)
        return None

    def frames(self, segment: Segment) -> Iterator[StoredFrame]:
        """All readable frames of one file; none when it has been dropped meanwhile."""
        try:
            data = self._read(segment, 0)
        except FileNotFoundError:
            return
        for item in scan(data):
            if isinstance(item, Frame) and item.mark == HEADER:
                continue
            frame = self._cipher.opened_or_hole(item)
            if isinstance(frame, Hole):
                self._on_damage(segment)
            else:
                yield _stored(frame)

    def _span(self, segment: Segment, after: int, max_records: int, max_bytes: int) -> Span | None:
        place = self._place(segment, after)
        if place:
            span = self._span_from(segment, place, after, max_records, max_bytes)
            if span is not None and span.first == after + 1:
                return span  # anything else: the file has been replaced since, look again from its start
        return self._span_from(segment, 0, after, max_records, max_bytes)

    def _span_from(
        self, segment: Segment, place: int, after: int, max_records: int, max_bytes: int
    ) -> Span | None:
        frames: list[StoredFrame] = []
        records = size = end = 0
        for item in scan(self._read(segment, place)):
            if isinstance(item, Frame) and (item.mark == HEADER or item.last <= after):
                continue
            opened = self._cipher.opened_or_hole(item)
            if isinstance(item, Hole) or isinstance(opened, Hole):
                self._on_damage(segment)
                break
            records += item.count
            size += len(opened.payload)
            gap = bool(frames) and item.first != frames[-1].last + 1
            if frames and (gap or records > max_records or size > max_bytes):
                break
            frames.append(_stored(opened))
            end = place + item.end
        if not frames:
            return None
        self._remember(segment, frames[-1].last, end)
        return Span(segment.boot_id, tuple(frames))

    def _chain_inside(self, segment: Segment, n: int) -> str | None:
        following = next((f for f in self.frames(segment) if f.first > n), None)
        return following.previous if following and following.first == n + 1 else None

    def _segment_after(self, after: int) -> Segment | None:
        segments = self._view().segments
        index = bisect.bisect_right(segments, after, key=lambda segment: segment.last)
        held = (segment for segment in segments[index:] if segment.last >= segment.first)
        return next(held, None)  # of a damaged file there may be nothing left to read

    def _is_current(self, segment: Segment) -> bool:
        """Whether the file is still the one that was read: not dropped, not replaced by a salvaged one."""
        return any(
            held.first == segment.first and held.salvaged == segment.salvaged
            for held in self._view().segments
        )

    def _place(self, segment: Segment, after: int) -> int:
        with self._lock:
            return self._ends.get((segment.first, segment.salvaged, after), 0)

    def _remember(self, segment: Segment, last: int, end: int) -> None:
        with self._lock:
            self._ends[segment.first, segment.salvaged, last] = end
            self._ends.move_to_end((segment.first, segment.salvaged, last))
            if len(self._ends) > _REMEMBERED:
                self._ends.popitem(last=False)

    def _read(self, segment: Segment, offset: int) -> bytes:
        """A finished file as it is, for it may just have been rewritten; of the newest one, what is synced."""
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            finished = segment.first < self._view().segments[-1].first
            size = os.fstat(fd).st_size if finished else segment.size
            return os.pread(fd, max(size - offset, 0), offset)
        finally:
            os.close(fd)


def _stored(frame: Frame) -> StoredFrame:
    return StoredFrame(frame.first, frame.count, frame.previous, frame.payload)
