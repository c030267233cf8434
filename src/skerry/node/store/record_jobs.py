"""What the record store's commit thread is asked to do, within which limits, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from skerry.kit.errors import StorageFull
from skerry.node.store.segments import Segment
from skerry.wire.records import ClockQuality, Kind, Published, Record
from skerry.wire.sync import Lane


class Limits(msgspec.Struct, frozen=True):
    """Bytes on disk. `keep` is for the lanes keep and event together, `reserve` is the most that is held back.

    `storage` is for the whole data directory; None: the disk is the limit.
    """

    keep: int = 1_000_000_000
    sample: int = 500_000_000
    segment: int = 4 * 1024 * 1024
    reserve: int = 4 * 1024 * 1024
    storage: int | None = None

    def segment_of(self, lane: Lane) -> int:
        """The size at which a file ends: small enough that a full lane is freed in eighths."""
        return min(self.segment, (self.sample if lane == "sample" else self.keep) // 8)


class Submission(msgspec.Struct, frozen=True):
    """Records of one publisher, divided into lanes; a record's counter is `first` + its offset.

    Without a session the store numbers the records itself, and no retry is recognised. `accepted_at` and
    `monotonic` are in nanoseconds.
    """

    kind: Kind
    source: str
    session: str | None
    first: int
    accepted_at: int
    monotonic: int
    quality: ClockQuality
    parts: Sequence[tuple[Lane, list[Record]]]
    last_try: bool = True
    """False: when there is no room, it is made again after an eviction."""

    @property
    def count(self) -> int:
        """How many records."""
        return sum(len(records) for _, records in self.parts)


class Free(msgspec.Struct, frozen=True):
    """Drop whole files of what the hub has acknowledged, up to record `through`."""

    lane: Lane
    through: int


class Evict(msgspec.Struct, frozen=True):
    """Drop about so many bytes of acknowledged records up to these points. With a cause, an event tells of it."""

    through: Mapping[Lane, int]
    size: int
    cause: str = ""


class Thin(msgspec.Struct, frozen=True):
    """Drop whole files of samples up to record `through`, at the hub or not; what is not becomes a gap."""

    through: int
    cause: str


class Tend(msgspec.Struct, frozen=True):
    """Give the reserve up, or take it up again, as there is room."""


class Check(msgspec.Struct, frozen=True):
    """A reader met bad bytes in this file: look, and put it right."""

    lane: Lane
    segment: Segment


class Renew(msgspec.Struct, frozen=True):
    """Every lane goes on in a new file: what comes is sealed with the keys of now, all else is in finished files."""


class Replace(msgspec.Struct, frozen=True):
    """A rewritten file waits to take the place of this one; `size` is its size."""

    lane: Lane
    segment: Segment
    size: int


class RoomNeeded(StorageFull):
    """There is no room for a submission that may be made again: `wanted` bytes would do."""

    def __init__(self, wanted: int) -> None:
        super().__init__(f"{wanted} bytes more are needed")
        self.wanted = wanted


Job = Submission | Free | Evict | Thin | Tend | Check | Renew | Replace
Result = Published | int
"""Free and Thin answer how many records went, Evict how many bytes; the others 1 when the reserve is held, the file was damaged,
or was replaced."""


class Counters(msgspec.Struct):
    """Since the start, for tests; people read of it in events and gaps. `lost` records were damaged on disk."""

    groups: int = 0
    repeated: int = 0
    refused: int = 0
    freed: int = 0
    thinned: int = 0
    lost: int = 0
