"""Letting go of records that the hub has acknowledged, oldest files first, and telling of it.

A file that is being written is ended for it only when that is worth a new file: on a full disk each freeing writes an
event, and events that make room for nothing but the next event would follow each other for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from skerry.node.store.lane_log import LaneLog
from skerry.node.store.own_records import OwnRecords
from skerry.node.store.record_jobs import Counters
from skerry.node.store.segments import Segment
from skerry.wire.sync import Lane

log = logging.getLogger(__name__)


def droppable(segments: Sequence[Segment], through: int, worth: int = 0) -> list[Segment]:
    """The oldest files of which all is at or before record `through`. The newest only if it has records and `worth` bytes."""
    found: list[Segment] = []
    for segment in segments:
        newest = segment is segments[-1]
        if segment.last > through or (newest and not _can_end(segment, worth)):
            break
        found.append(segment)
    return found


def _can_end(segment: Segment, worth: int) -> bool:
    return segment.last >= segment.first and segment.size >= worth


class Freeing:
    """Drops whole files of the lanes. Every method runs in the commit thread."""

    def __init__(self, lanes: Mapping[Lane, LaneLog], own: OwnRecords, counters: Counters) -> None:
        self._lanes = lanes
        self._own = own
        self._counters = counters

    def all_through(self, lane: Lane, through: int) -> int:
        """Drops what is at or before record `through`, and tells nobody; returns how many records. Raises OSError."""
        freed = 0
        while found := droppable(self._lanes[lane].view.segments, through):
            self._drop(self._lanes[lane])
            freed += found[0].last - found[0].first + 1
        self._counters.freed += freed
        return freed

    def until(self, through: Mapping[Lane, int], enough: Callable[[int], bool], cause: str) -> int:
        """Drops files of these lanes until `enough` of the bytes that went; tells of it if there is a cause."""
        freed: dict[Lane, list[Segment]] = {}
        size = 0
        while not enough(size):
            oldest = self._oldest(through)
            if oldest is None:
                break
            lane, segment = oldest
            try:
                self._drop(self._lanes[lane])
            except OSError as error:
                log.warning("cannot free acknowledged records of lane «%s»: %s", lane, error)
                break
            size += segment.size
            freed.setdefault(lane, []).append(segment)
        for lane, segments in freed.items():
            self._account(lane, segments, cause)
        return size

    def _oldest(self, through: Mapping[Lane, int]) -> tuple[Lane, Segment] | None:
        found = [
            (files[0].times.accepted_at, lane, files[0])
            for lane, last in through.items()
            if (files := droppable(self._lanes[lane].view.segments, last, self._lanes[lane].worth))
        ]
        if not found:
            return None
        _, lane, segment = min(found, key=lambda entry: entry[:2])
        return lane, segment

    def _account(self, lane: Lane, segments: Sequence[Segment], cause: str) -> None:
        count = sum(segment.last - segment.first + 1 for segment in segments)
        self._counters.freed += count
        if not cause:
            return
        self._own.note(
            "skerry.storage.freed",
            f"freed {count} acknowledged records of lane «{lane}» early: {cause}",
            {"lane": lane, "from_n": segments[0].first, "to_n": segments[-1].last},
        )

    def _drop(self, lane: LaneLog) -> None:
        if len(lane.view.segments) == 1:
            lane.seal()
        lane.drop_oldest()
