"""Records: measurements, events and gaps. Append-only; a record's id comes from its publisher.

    session  16 random bytes as hex, new in every publishing process
    counter  1, 2, 3, … within the session; (session, counter) is the record's id for ever,
             so that a retry is no second record

What a workload publishes is decided by its name into one of two stream classes: `keep` (accepted is
never dropped) or `sample` (thinned oldest first, and the gap is itself a record). Events are `keep`, and so are files,
whose value names their content (`wire.files`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Value = bool | int | float | str
Meta = dict[str, Value]
Kind = Literal["measurement", "event", "gap", "file"]
PublishedKind = Literal["measurement", "event", "file"]
ClockQuality = Literal["synced", "unsynced", "suspect"]

MAX_NAME = 255
MAX_TEXT = 64 * 1024
MAX_META_KEYS = 32
MAX_META_TEXT = 1024
MAX_PUBLISH = 10_000
INT64 = 2**63

SPARSE_SESSION = 30
"""Digits of a session whose counters leave numbers out: they count what somebody was given, not what became records."""

# «$» alone would also match before a final line break.
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=MAX_NAME, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-/]*$(?!\n)"
    ),
]


class PublishedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record as a publisher writes it. `at` is in nanoseconds since 1970; without it, the time of acceptance."""

    name: Name
    value: Value
    at: int | None = None
    meta: Meta | None = None


class Publish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/publish` on a workload's socket.

    `session` and `first` (the counter of the first record) make a retry safe; without them every call
    is new. Batches of one session are sent one at a time and in order. `instance` is the sender's SKERRY_INSTANCE,
    where it says so: only then does readiness by value know which of two instances has published.
    """

    records: Annotated[list[PublishedRecord], msgspec.Meta(min_length=1, max_length=MAX_PUBLISH)]
    kind: PublishedKind = "measurement"
    session: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None = None
    first: Annotated[int, msgspec.Meta(ge=1, lt=INT64 - MAX_PUBLISH)] | None = None
    instance: str = ""


class Published(msgspec.Struct, frozen=True):
    """The answer after the group's fsync. `repeated` of the `accepted` records had been accepted before."""

    accepted: int
    repeated: int = 0


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One accepted record inside a batch; its counter is `Batch.counter + offset`."""

    offset: int
    name: str
    at: int
    value: Value
    meta: Meta | None = None


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Records of one publisher, accepted together: the payload of one segment frame and of one pushed frame.

    `accepted_at` (wall) and `monotonic` are the device's nanoseconds at acceptance; the boot id that
    makes `monotonic` comparable stands once per segment and per push unit.
    """

    kind: Kind
    source: str
    session: str
    counter: int
    accepted_at: int
    monotonic: int
    quality: ClockQuality
    records: list[Record]


class Row(msgspec.Struct, frozen=True):
    """One record as people and subscribers read it. `cursor` continues a subscription after this row."""

    timestamp: str
    name: str
    value: Value
    meta: Meta
    node: str
    source: str
    at: int
    kind: Kind = "measurement"
    cursor: str | None = None
