"""How long acknowledged records stay on the node: the decision (pure) and the pass that acts on it.

The hub may lose what it acknowledged (it is put back to a backup), so a node keeps acknowledged records until
the hub says that they are in a backup, or for seven days. What the hub does not have is never freed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from skerry.kit.clock import NS, Clock
from skerry.node.store.records import RecordStore
from skerry.node.store.segments import Segment
from skerry.wire.sync import RECORD_LANES, Lane

KEEP_ACKNOWLEDGED = 7 * 86_400 * NS


class Moment(msgspec.Struct, frozen=True):
    """Now, by both clocks; `monotonic` compares only within one boot."""

    wall: int
    monotonic: int
    boot_id: str

    def age(self, segment: Segment) -> int:
        """Nanoseconds since the segment's newest record was accepted, by the clock that can be trusted more."""
        if segment.boot_id == self.boot_id:
            return self.monotonic - segment.times.monotonic
        return self.wall - segment.times.accepted_at


def freeable_through(
    segments: Sequence[Segment], acknowledged: int, backed_up: int, now: Moment
) -> int:
    """The last record of the oldest run of whole files that may go; 0 when none may."""
    through = 0
    for segment in segments:
        if segment.last > acknowledged:
            break
        if segment.last > backed_up and now.age(segment) < KEEP_ACKNOWLEDGED:
            break
        through = segment.last
    return through


class Retention:
    """One pass over the lanes; `backed_up` says up to which record the hub has a lane in a backup."""

    def __init__(
        self, records: RecordStore, clock: Clock, backed_up: Callable[[Lane], int]
    ) -> None:
        self._records = records
        self._clock = clock
        self._backed_up = backed_up

    async def once(self) -> None:
        """Frees what may go now. Raises Transient."""
        now = Moment(self._clock.wall_ns(), self._clock.monotonic_ns(), self._clock.boot_id())
        for lane in RECORD_LANES:
            through = freeable_through(
                self._records.segments(lane),
                self._records.acknowledged(lane),
                self._backed_up(lane),
                now,
            )
            if through:
                await self._records.free(lane, through)
