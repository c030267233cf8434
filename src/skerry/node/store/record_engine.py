"""The commit thread's half of the record store: one group of jobs, one write and one fsync per touched lane.

A group is housekeeping first, then every submission is staged, the lanes are flushed, and only then anybody
is answered. What the node itself has to say about records (a gap, a damaged file, records freed early) goes
into lane `event`. Submissions meet three limits here: the sizes of keep and sample, and the disk. Where there
is no room, acknowledged records go first, then samples; keep and events that the hub does not have never go.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import SkerryError, StorageFull, Transient
from skerry.kit.ids import random_token
from skerry.kit.units import format_size
from skerry.node.store.cipher import Cipher
from skerry.node.store.lane_log import LaneLog, Piece, cut
from skerry.node.store.lane_recovery import Damage, Lost
from skerry.node.store.record_jobs import Check, Counters, Free, Job, Limits, Result, Submission
from skerry.node.store.reserve import Reserve
from skerry.node.store.segments import Segment
from skerry.wire.records import Batch, Kind, Meta, Published, Record, Value
from skerry.wire.sync import RECORD_LANES, Lane

log = logging.getLogger(__name__)

NODE = "skerry"
"""The source of records that the node itself writes."""

_KEPT: tuple[Lane, ...] = ("event", "keep")
_THINNED: tuple[Lane, ...] = ("sample",)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class RecordEngine:
    """Owns the lanes' files. All but `acknowledged` and `counters` belongs to the commit thread."""

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk,
        clock: Clock,
        cipher: Cipher,
        limits: Limits,
        committed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._committed = committed
        self._reserve = Reserve(directory / "reserve", limits.reserve, disk)
        self._session = random_token()
        self._counter = 0
        self.acknowledged: dict[Lane, int] = dict.fromkeys(RECORD_LANES, 0)
        self.counters = Counters()
        self.lanes: dict[Lane, LaneLog] = {
            lane: LaneLog(
                lane,
                directory / lane,
                boot_id=clock.boot_id(),
                segment_bytes=limits.segment_of(lane),
                disk=disk,
                cipher=cipher,
            )
            for lane in RECORD_LANES
        }

    def open(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        damages = [(lane, damage) for lane in self.lanes.values() for damage in lane.open()]
        self._reserve.open()
        for lane, damage in damages:
            self._put_right(lane, damage)

    def close(self) -> None:
        for lane in self.lanes.values():
            lane.close()

    def commit(self, jobs: Sequence[Job]) -> list[Result | Exception]:
        results: dict[int, Result | Exception] = {}
        for index, job in enumerate(jobs):
            if not isinstance(job, Submission):
                results[index] = self._keep_house(job)
        growable = self._growable([job for job in jobs if isinstance(job, Submission)])
        for index, job in enumerate(jobs):
            if isinstance(job, Submission):
                results[index] = self._stage(job, growable)
        failed = self._flush()
        self._thin_samples()
        self.counters.groups += 1
        self._committed()
        self._disk.point("publish.synced")
        return [self._outcome(job, results[index], failed) for index, job in enumerate(jobs)]

    def _outcome(
        self, job: Job, result: Result | Exception, failed: dict[Lane, OSError]
    ) -> Result | Exception:
        if isinstance(job, Submission) and isinstance(result, Published):
            for lane, _ in job.parts:
                if lane in failed:
                    return self._cause(job, lane, failed[lane])
            self.counters.repeated += result.repeated
        elif isinstance(result, StorageFull):
            self.counters.refused += 1
        return result

    def _stage(self, job: Submission, growable: Collection[Lane]) -> Published | SkerryError:
        session, first = job.session, job.first
        if session is None:
            session, first = self._session, self._counter + 1
            self._counter += job.count
        repeated = 0
        staged: list[tuple[LaneLog, list[Piece]]] = []
        for name, records in job.parts:
            lane = self.lanes[name]
            known = lane.last_counter(session) - first
            fresh = [record for record in records if record.offset > known]
            repeated += len(records) - len(fresh)
            if fresh:
                staged.append((lane, cut(_batch(job, session, first, fresh))))
        if any(lane.lane not in growable for lane, _ in staged):
            return self._disk_full(job)
        if not self._fits(staged):
            return StorageFull(
                f"cannot accept records of «{job.source}»: the records that the hub does not have yet fill their "
                f"limit of {format_size(self._limits.keep)}. Connect the hub, raise records.keep_limit in "
                "node.yaml, or give the names that may be thinned the class «sample» in the workload's streams."
            )
        for lane, pieces in staged:
            lane.stage(pieces)
        return Published(job.count, repeated)

    def _fits(self, staged: Sequence[tuple[LaneLog, list[Piece]]]) -> bool:
        wanted = sum(
            piece.size for lane, pieces in staged if lane.lane in _KEPT for piece in pieces
        )
        if wanted == 0 or self._kept_bytes() + wanted <= self._limits.keep:
            return True
        cause = f"the limit of {format_size(self._limits.keep)} is reached"
        return self._free_early(
            _KEPT, lambda: self._kept_bytes() + wanted <= self._limits.keep, cause
        )

    def _growable(self, jobs: Sequence[Submission]) -> Collection[Lane]:
        """The lanes that may grow; makes room for them on a full disk. Nothing may be staged yet: this flushes.

        Where there is not enough room for all, samples may still take the place of older ones.
        """
        hold = self._reserve.hold
        if not jobs or hold() or self._free_early(RECORD_LANES, hold, "the disk is full"):
            return RECORD_LANES
        if self._thin_until_free(self._reserve.needed) and hold():
            return RECORD_LANES
        samples = any(lane == "sample" for job in jobs for lane, _ in job.parts)
        return _THINNED if samples and self._thin_until_free(self._reserve.lent) else ()

    def _kept_bytes(self) -> int:
        return sum(self.lanes[lane].bytes + self.lanes[lane].staged_bytes for lane in _KEPT)

    def _flush(self) -> dict[Lane, OSError]:
        """Flushes every lane; answers those that failed. One lane's failure leaves the others alone."""
        failed: dict[Lane, OSError] = {}
        for name, lane in self.lanes.items():
            try:
                lane.flush()
            except OSError as error:
                log.warning("cannot write records of lane «%s»: %s", name, error)
                failed[name] = error
        if any(error.errno in _NO_SPACE for error in failed.values()):
            try:
                self._reserve.release()
            except OSError as error:
                log.warning("cannot release the reserve: %s", error)
        return failed

    def _cause(self, job: Submission, lane: Lane, error: OSError) -> SkerryError:
        if error.errno in _NO_SPACE:
            self.counters.refused += 1
            return self._disk_full(job)
        return Transient(
            f"cannot write records of «{job.source}» to lane «{lane}»: {error.strerror}. "
            "Send the same batch again; if this goes on, check the disk."
        )

    def _disk_full(self, job: Submission) -> StorageFull:
        return StorageFull(
            f"cannot accept records of «{job.source}»: the disk of {self._directory} is full. Free space until "
            f"{format_size(self._reserve.needed)} are free there, or connect the hub; accepting goes on by itself."
        )

    def _keep_house(self, job: Free | Check) -> Result | Exception:
        try:
            if isinstance(job, Free):
                return self._free(job)
            damage = self.lanes[job.lane].inspect(job.segment.first)
            return int(damage is not None and self._put_right(self.lanes[job.lane], damage))
        except OSError as error:
            return Transient(f"cannot tend records of lane «{job.lane}»: {error}")

    def _free(self, job: Free) -> int:
        lane = self.lanes[job.lane]
        through = min(job.through, self.acknowledged[job.lane])
        freed = 0
        while (segment := _droppable(lane, through)) is not None:
            self._drop(lane)
            freed += segment.last - segment.first + 1
        self.counters.freed += freed
        return freed

    def _free_early(self, lanes: Sequence[Lane], enough: Callable[[], bool], cause: str) -> bool:
        """Drops acknowledged records of these lanes, oldest files first, until `enough`; tells what it dropped."""
        freed: dict[Lane, list[Segment]] = {}
        while not enough():
            found = [
                (segment.times.accepted_at, name, segment)
                for name in lanes
                if (segment := _droppable(self.lanes[name], self.acknowledged[name])) is not None
            ]
            if not found:
                break
            _, name, segment = min(found, key=lambda entry: entry[:2])
            try:
                self._drop(self.lanes[name])
            except OSError as error:
                log.warning("cannot free acknowledged records of lane «%s»: %s", name, error)
                break
            freed.setdefault(name, []).append(segment)
        for name, segments in freed.items():
            count = sum(segment.last - segment.first + 1 for segment in segments)
            self.counters.freed += count
            self._note(
                "event",
                "skerry.storage.freed",
                f"freed {count} acknowledged records of lane «{name}» early: {cause}",
                {"lane": name, "from_n": segments[0].first, "to_n": segments[-1].last},
            )
        return enough()

    def _thin_samples(self) -> None:
        """Lets the oldest samples above their limit go."""
        lane = self.lanes["sample"]
        while lane.bytes > self._limits.sample and len(lane.view.segments) > 1:
            if not self._let_oldest_samples_go("thinned"):
                return

    def _thin_until_free(self, wanted: int) -> bool:
        """Lets samples go, oldest first, until `wanted` bytes are free on the disk; none when all would not do."""
        lane = self.lanes["sample"]
        older = sum(segment.size for segment in lane.view.segments[:-1])
        if self._free_bytes() + older < wanted:
            return False
        while self._free_bytes() < wanted and len(lane.view.segments) > 1:
            if not self._let_oldest_samples_go("disk full"):
                return False
        return self._free_bytes() >= wanted

    def _let_oldest_samples_go(self, cause: str) -> bool:
        """Drops the oldest file of lane sample; what the hub does not have becomes a gap first.

        Where not even the gap has room, it takes that of the file; killed in between, only the hub tells of it.
        """
        lane = self.lanes["sample"]
        oldest = lane.view.segments[0]
        times = oldest.times
        first = max(oldest.first, self.acknowledged["sample"] + 1)
        lost = Lost(first, oldest.last, times.earliest_at, times.latest_at)
        failure = self._tell_gap(lost, oldest, cause) if lost.count > 0 else None
        if failure is not None and failure.errno not in _NO_SPACE:
            return False
        try:
            lane.drop_oldest()
        except OSError as error:
            log.warning("cannot drop %s: %s", oldest.path, error)
            return False
        self.counters.thinned += max(lost.count, 0)
        return failure is None or self._tell_gap(lost, oldest, cause) is None

    def _tell_gap(self, lost: Lost, segment: Segment, cause: str) -> OSError | None:
        self._gap("sample", lost, segment, cause)
        return self._flush().get("event")

    def _free_bytes(self) -> int:
        return self._disk.free_bytes(self._directory)

    def _drop(self, lane: LaneLog) -> None:
        if len(lane.view.segments) == 1:
            lane.seal()
        lane.drop_oldest()

    def _put_right(self, lane: LaneLog, damage: Damage) -> bool:
        """Reports a damaged file and sets it aside. False: not now, the next reader or start tries again."""
        path = damage.segment.path
        missing = ", ".join(f"{lost.first} to {lost.last}" for lost in damage.lost) or "none known"
        text = (
            f"{path.name} of lane «{lane.lane}» is damaged and set aside; lost records: {missing}"
        )
        log.error("%s", text)
        for lost in damage.lost:
            self._gap(lane.lane, lost, damage.segment, "damaged")
        if damage.lost and "event" in self._flush():
            return False
        try:
            lane.set_aside(damage)
        except OSError as error:
            log.warning("cannot set %s aside: %s", path, error)
            return False
        self.counters.lost += sum(lost.count for lost in damage.lost)
        self._note("event", "skerry.storage.damaged", text, {"file": f"{path}.damaged"})
        self._flush()
        return True

    def _gap(self, lane: Lane, lost: Lost, segment: Segment, cause: str) -> None:
        """A gap's identity follows from what is lost: told again after a crash, it is the same record."""
        identity = f"{lane} {segment.first} {segment.previous} {lost.last}"
        session = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        if self.lanes["event"].last_counter(session):
            return
        meta: Meta = {
            "from_n": lost.first,
            "to_n": lost.last,
            "from": lost.since,
            "to": lost.until,
            "cause": cause,
        }
        self._note("gap", lane, lost.count, meta, session=session, at=lost.until or lost.since)

    def _note(
        self,
        kind: Kind,
        name: str,
        value: Value,
        meta: Meta,
        *,
        session: str | None = None,
        at: int | None = None,
    ) -> None:
        """Stages a record of the node's own; limits do not apply to it."""
        now = self._clock.wall_ns()
        counter = 1
        if session is None:
            self._counter += 1
            session, counter = self._session, self._counter
        batch = Batch(
            kind,
            NODE,
            session,
            counter,
            now,
            self._clock.monotonic_ns(),
            "unsynced",
            [Record(0, name, at or now, value, meta)],
        )
        self.lanes["event"].stage(cut(batch))


def _batch(job: Submission, session: str, first: int, records: list[Record]) -> Batch:
    return Batch(
        job.kind,
        job.source,
        session,
        first,
        job.accepted_at,
        job.monotonic,
        job.quality,
        records,
    )


def _droppable(lane: LaneLog, through: int) -> Segment | None:
    """The oldest file, when all of it is at or before record `through` and it is not the empty newest one."""
    segments = lane.view.segments
    if not segments or segments[0].last > through:
        return None
    if len(segments) == 1 and segments[0].last < segments[0].first:
        return None
    return segments[0]
