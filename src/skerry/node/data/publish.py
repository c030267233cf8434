"""Accepting what workloads publish: check the values, divide them into lanes, hand them to the store.

The rules are docs/reference/publish.md in code; everything but `Publisher` is pure. The socket is
`node.api.workload`, the durable part is `node.store.records`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import starmap

from skerry.core.names import NAMES_OF_OUR_OWN, NAMES_OF_TWINS
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput
from skerry.kit.one_line import one_line
from skerry.kit.patterns import first_match
from skerry.node.store.record_jobs import Submission
from skerry.node.store.records import RecordStore
from skerry.wire.codec import decode
from skerry.wire.files import read_reference
from skerry.wire.records import (
    INT64,
    MAX_META_KEYS,
    MAX_META_TEXT,
    MAX_NAME,
    MAX_TEXT,
    ClockQuality,
    Publish,
    Published,
    PublishedRecord,
    Record,
    Value,
)
from skerry.wire.sync import Lane
from skerry.wire.workload import StreamClass

DEFAULT_CLASS: StreamClass = "keep"
"""The class of a name that no pattern of the workload's `streams` fits."""

_NO_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")
_NO_NUMBER_RULE = (
    "NaN and Infinity are no values. Leave the record out, or publish a text such as «NaN»"
)


def read_publish(body: bytes) -> Publish:
    """The publish request in `body`. Raises InvalidInput; for NaN and Infinity with the rule about them."""
    try:
        return decode(body, Publish, "publish request")
    except InvalidInput as error:
        if _NO_NUMBER.search(body) or "Number out of range" in str(error):
            raise InvalidInput(f"{error}. {_NO_NUMBER_RULE}.") from error
        raise


def check(request: Publish) -> None:
    """Raises InvalidInput, naming the record and the rule, when a part of `request` must not be stored."""
    if (request.session is None) != (request.first is None):
        raise InvalidInput(
            "cannot publish: «session» and «first» make a retry safe only together; send both or neither"
        )
    for index, record in enumerate(request.records):
        fault = (
            _record_fault(record) or (request.kind == "file" and _reference_fault(record)) or None
        )
        if fault:
            raise InvalidInput(f"cannot publish record {index} «{record.name}»: {fault}")


def divide(
    request: Publish, streams: Mapping[str, StreamClass], now: int
) -> list[tuple[Lane, list[Record]]]:
    """The records by lane, with their offsets in `request`; `now` (ns) is the time of those without one.

    A name's class is that of the first pattern in `streams` that fits it; events and files always have their own lane.
    """
    parts: dict[Lane, list[Record]] = {}
    classes: dict[str, Lane] = {}
    for offset, record in enumerate(request.records):
        lane = classes.get(record.name)
        if lane is None:
            lane = classes[record.name] = lane_of(request.kind, record.name, streams)
        at = now if record.at is None else record.at
        parts.setdefault(lane, []).append(
            Record(offset, record.name, at, record.value, record.meta or None)
        )
    return list(parts.items())


def lane_of(kind: str, name: str, streams: Mapping[str, StreamClass]) -> Lane:
    """The lane for a record of this kind and name."""
    if kind in {"event", "file"}:
        return "event"
    return "sample" if first_match(streams, name, DEFAULT_CLASS) == "sample" else "keep"


def clock_quality(wall_ns: int, *, floor_ns: int, synchronised: bool) -> ClockQuality:
    """How far the device's clock can be trusted. It marks records and never refuses them.

    `floor_ns` is a time that has surely passed: the newest of this build's date and the hub's last known time.
    """
    if wall_ns < floor_ns:
        return "suspect"
    return "synced" if synchronised else "unsynced"


class Publisher:
    """The way into the record store. `quality` says how good the device's clock is at the moment."""

    def __init__(
        self, records: RecordStore, clock: Clock, quality: Callable[[], ClockQuality]
    ) -> None:
        self._records = records
        self._clock = clock
        self._quality = quality

    async def publish(
        self, source: str, request: Publish, streams: Mapping[str, StreamClass]
    ) -> Published:
        """Accepts all records of workload `source` or none; returns when they are durable.

        Raises InvalidInput, StorageFull, and Transient: then the same request may be sent again.
        """
        check(request)
        now = self._clock.wall_ns()
        return await self._records.append(
            Submission(
                kind=request.kind,
                source=source,
                session=request.session,
                first=request.first or 0,
                accepted_at=now,
                monotonic=self._clock.monotonic_ns(),
                quality=self._quality(),
                parts=divide(request, streams, now),
            )
        )


def _record_fault(record: PublishedRecord) -> str | None:
    for own in (NAMES_OF_OUR_OWN, NAMES_OF_TWINS):
        if record.name.startswith(own):
            return f"names that begin with «{own}» are the node's own; choose another one"
    fault = _value_fault(record.value, MAX_TEXT)
    if fault:
        return fault
    if record.at is not None and not -INT64 <= record.at < INT64:
        return f"its time «at» is {one_line(str(record.at))}; write nanoseconds since 1970 as a 64-bit integer"
    if record.meta is None:
        return None
    if len(record.meta) > MAX_META_KEYS:
        return f"its meta has {len(record.meta)} keys, at most {MAX_META_KEYS} are kept"
    return next(filter(None, starmap(_meta_fault, record.meta.items())), None)


def _reference_fault(record: PublishedRecord) -> str | None:
    try:
        read_reference(record.value)
    except InvalidInput as error:
        return str(error)
    return None


def _meta_fault(key: str, value: Value) -> str | None:
    if not 1 <= len(key) <= MAX_NAME:
        return f"a key of its meta has {len(key)} characters; use 1 to {MAX_NAME}"
    fault = _value_fault(value, MAX_META_TEXT)
    return f"in its meta «{one_line(key)}»: {fault}" if fault else None


def _value_fault(value: Value, max_text: int) -> str | None:
    if isinstance(value, str):
        size = len(value.encode())
        return (
            f"the text has {size} bytes, at most {max_text} are kept" if size > max_text else None
        )
    if isinstance(value, float):
        return None if math.isfinite(value) else _NO_NUMBER_RULE
    if not -INT64 <= value < INT64:
        return f"{one_line(str(value))} is not a 64-bit integer; publish it as a text or as a float"
    return None
