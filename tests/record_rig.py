"""Builders for tests of records: batches, submissions, a store in a directory, and everything that a lane holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skerry.core.lanes import extend
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.disk import Disk, RealDisk
from skerry.node.store.cipher import Cipher, NullCipher
from skerry.node.store.record_engine import RecordEngine
from skerry.node.store.record_jobs import Limits, Submission
from skerry.node.store.records import RecordStore
from skerry.wire.codec import decode
from skerry.wire.records import Batch, Record, Value
from skerry.wire.sync import Lane, LanePoint

T0 = 1_760_000_000_000_000_000
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
    found: list[tuple[str, int, Value]] = []
    point = store.base(lane)
    while (span := store.read(lane, point.n, 100, 10_000)) is not None:
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
    assert point == store.head(lane)
    return found


def values(store: RecordStore, lane: Lane = "keep") -> list[Value]:
    return [value for _, _, value in held(store, lane)]


def segment_files(directory: Path, lane: Lane = "keep") -> list[Path]:
    return sorted((directory / "records" / lane).glob("*.seg"))
