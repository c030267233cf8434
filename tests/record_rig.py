"""Builders for tests of records: batches, submissions, a store in a directory, and everything that a lane holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from skerry.core.lanes import extend
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.kit.errors import StorageFull
from skerry.kit.sealing.cipher import Cipher, NullCipher
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.lane_log import LaneView
from skerry.node.store.lane_reader import LaneReader, Span
from skerry.node.store.record_engine import RecordEngine
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.node.store.segments import Segment
from skerry.wire.codec import decode
from skerry.wire.records import Batch, Record, Value
from skerry.wire.sync import Lane, LanePoint

T0 = 1_760_000_000_000_000_000
TEXT = "x" * 1000
SMALL = Limits(reserve=4096)


def session(number: int) -> str:
    return f"{number:032x}"


def records(values: Sequence[Value], *, name: str = "env.x", at: int = T0) -> list[Record]:
    return [Record(offset, name, at + offset, value) for offset, value in enumerate(values)]


def submission(
    first: int,
    *values: Value,
    who: int | None = 1,
    lane: Lane = "keep",
    at: int = T0,
    accepted_at: int = T0,
    monotonic: int = 1,
) -> Submission:
    return Submission(
        kind="event" if lane == "event" else "measurement",
        source="test",
        session=None if who is None else session(who),
        first=first,
        accepted_at=accepted_at,
        monotonic=monotonic,
        quality="synced",
        parts=[(lane, records(values, at=at))],
    )


def make_store(
    directory: Path,
    *,
    disk: Disk | None = None,
    clock: Clock | None = None,
    cipher: Cipher | None = None,
    limits: Limits = SMALL,
) -> RecordStore:
    return RecordStore(
        directory / "records",
        disk=disk or RealDisk(),
        clock=clock or SystemClock(),
        cipher=cipher or NullCipher(),
        limits=limits,
    )


def make_engine(
    directory: Path, *, disk: Disk, clock: Clock | None = None, limits: Limits = SMALL
) -> RecordEngine:
    return RecordEngine(
        directory / "records",
        disk=disk,
        clock=clock or SystemClock(),
        cipher=NullCipher(),
        limits=limits,
        committed=lambda: None,
    )


def held(store: RecordStore, lane: Lane = "keep") -> list[tuple[str, int, Value]]:
    """(session, counter, value) of every record of the lane in order, read as push reads; checks the chain."""
    view = LaneView(store.segments(lane), store.head(lane))
    return _held(view, lambda after: store.read(lane, after, 100, 10_000))


def held_by(engine: RecordEngine, lane: Lane) -> list[tuple[str, int, Value]]:
    """As `held`, for an engine without its thread; damage is an error."""
    log = engine.lanes[lane]
    reader = LaneReader(lambda: log.view, FrameCipher(NullCipher(), lane), _no_damage)
    return _held(log.view, lambda after: reader.read(after, 100, 10_000))


def _no_damage(segment: Segment) -> None:
    raise AssertionError(f"{segment.path} is damaged")


def _held(view: LaneView, read: Callable[[int], Span | None]) -> list[tuple[str, int, Value]]:
    found: list[tuple[str, int, Value]] = []
    point = view.base
    while (span := read(point.n)) is not None:
        if span.first == point.n + 1:
            assert span.previous == point.chain
        chain = span.previous
        for frame in span.frames:
            assert frame.previous == chain
            chain = extend(chain, frame.payload)
            batch = decode(frame.payload, Batch, "frame")
            assert len(batch.records) == frame.count
            found += [
                (batch.session, batch.counter + record.offset, record.value)
                for record in batch.records
            ]
        point = LanePoint(span.last, chain)
        assert span.point == point
    assert point == view.head
    return found


def values(store: RecordStore, lane: Lane = "keep") -> list[Value]:
    return [value for _, _, value in held(store, lane)]


def segment_files(directory: Path, lane: Lane = "keep") -> list[Path]:
    return sorted((directory / "records" / lane).glob("*.seg"))


def told(store: RecordStore) -> list[tuple[str, Record]]:
    """(kind, record) of everything in lane event."""
    return [
        (batch.kind, record)
        for segment in store.segments("event")
        for frame in store.frames("event", segment)
        for batch in [decode(frame.payload, Batch, "frame")]
        for record in batch.records
    ]


async def publish_until_full(store: RecordStore) -> tuple[int, str]:
    """How many records of lane keep were accepted one by one, and why the next one was not."""
    for n in range(1, 200):
        try:
            await store.append(submission(n, TEXT, at=T0 + n))
        except StorageFull as error:
            return n - 1, str(error)
    raise AssertionError("never full")
