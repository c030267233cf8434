"""The commit thread's half of the record store: one group of jobs, one write and one fsync per touched lane.

A group is housekeeping first, then every submission is staged, the lanes are flushed, and only then anybody
is answered. What the node itself has to say about records (a gap, a damaged file, records freed early) goes
into lane `event`. Submissions meet three limits here: the sizes of keep and sample, and the disk. Where there
is no room, acknowledged records go first, then samples; keep and events that the hub does not have never go.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from skerry.kit.clock import Clock
from skerry.kit.disk import Disk
from skerry.kit.errors import SkerryError, StorageFull, Transient
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.units import format_size
from skerry.node.store.allowance import Allowance
from skerry.node.store.freeing import Freeing
from skerry.node.store.lane_log import LaneLog, Piece, cut
from skerry.node.store.lane_recovery import Damage, Lost
from skerry.node.store.own_records import OwnRecords
from skerry.node.store.record_jobs import (
    Check,
    Counters,
    Evict,
    Free,
    Job,
    Limits,
    Renew,
    Replace,
    Result,
    RoomNeeded,
    Submission,
    Tend,
    Thin,
)
from skerry.node.store.reserve import Reserve
from skerry.node.store.segments import Segment
from skerry.wire.records import Batch, Published, Record
from skerry.wire.sync import RECORD_LANES, Lane

log = logging.getLogger(__name__)

KEPT: tuple[Lane, ...] = ("event", "keep")
_THINNED: tuple[Lane, ...] = ("sample",)
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class RecordEngine:
    """Owns the lanes' files. All but `acknowledged`, `counters` and `allowance.others` belongs to the commit thread."""

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
        self.allowance = Allowance(directory, disk, limits.storage)
        self._reserve = Reserve(
            directory / "reserve", limits.reserve, disk, self._free_bytes, self.allowance.total
        )
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
        self._own = OwnRecords(self.lanes["event"], clock)
        self._freeing = Freeing(self.lanes, self._own, self.counters)

    @property
    def spare(self) -> int:
        """Bytes of the disk that work which can wait leaves to publishers. Known after `open`."""
        return self._reserve.spare

    def kept_room(self) -> int:
        """Bytes until the lanes event and keep are full. For any thread: the figures may be those of a moment ago."""
        used = sum(self.lanes[lane].bytes for lane in KEPT)
        return max(min(self._limits.keep - used, self._free_bytes()), 0)

    def open(self) -> None:
        self._disk.make_directory("segment.directory", self._directory)
        damages = [(lane, damage) for lane in self.lanes.values() for damage in lane.open()]
        self._reserve.open()
        for lane, damage in damages:
            self._put_right(lane, damage)

    def close(self) -> None:
        for lane in self.lanes.values():
            lane.close()
            try:
                lane.mark_head()
            except OSError as error:
                log.warning("cannot leave the head of lane «%s»: %s", lane.lane, error)

    def commit(self, jobs: Sequence[Job]) -> list[Result | Exception]:
        results: dict[int, Result | Exception] = {}
        for index, job in enumerate(jobs):
            if not isinstance(job, Submission):
                results[index] = self._keep_house(job)
        submissions = [job for job in jobs if isinstance(job, Submission)]
        postponed = self._postponed(submissions)
        growable = self._growable([job for job in submissions if postponed is None or job.last_try])
        for index, job in enumerate(jobs):
            if isinstance(job, Submission):
                late = postponed is not None and not job.last_try
                results[index] = postponed if late and postponed else self._stage(job, growable)
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
        elif isinstance(result, StorageFull) and not isinstance(result, RoomNeeded):
            self.counters.refused += 1
        return result

    def _stage(self, job: Submission, growable: Collection[Lane]) -> Published | SkerryError:
        session, first = job.session, job.first
        if session is None:
            session, first = self._own.session, self._own.number(job.count)
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
        wanted = sum(piece.size for lane, pieces in staged if lane.lane in KEPT for piece in pieces)
        if wanted == 0 or self._kept_bytes() + wanted <= self._limits.keep:
            return True
        cause = f"the limit of {format_size(self._limits.keep)} is reached"
        return self._free_early(
            KEPT, lambda: self._kept_bytes() + wanted <= self._limits.keep, cause
        )

    def _postponed(self, jobs: Sequence[Submission]) -> RoomNeeded | None:
        """What becomes of submissions that may be made again; None: there is room for them."""
        if all(job.last_try for job in jobs) or self._reserve.hold():
            return None
        return self._room_needed()

    def _room_needed(self) -> RoomNeeded:
        return RoomNeeded(max(self._reserve.needed - self._free_bytes(), 1))

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
        return sum(self.lanes[lane].bytes + self.lanes[lane].staged_bytes for lane in KEPT)

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
            if not job.last_try:  # larger than what was left, of which the reserve knows nothing
                return self._room_needed()
            self.counters.refused += 1
            return self._disk_full(job)
        return Transient(
            f"cannot write records of «{job.source}» to lane «{lane}»: {error.strerror}. "
            "Send the same batch again; if this goes on, check the disk."
        )

    def _disk_full(self, job: Submission) -> StorageFull:
        held = sum(lane.bytes for lane in self.lanes.values()) + self._reserve.held_bytes
        shortage = self.allowance.shortage(held, self._reserve.needed)
        return StorageFull(
            f"cannot accept records of «{job.source}»: {shortage}; accepting goes on by itself."
        )

    def _keep_house(
        self, job: Free | Evict | Thin | Tend | Check | Renew | Replace
    ) -> Result | Exception:
        try:
            match job:
                case Free(lane=lane, through=through):
                    return self._freeing.all_through(lane, self._acknowledged(lane, through))
                case Evict(through=wanted, size=size, cause=cause):
                    through_of = {each: self._acknowledged(each, n) for each, n in wanted.items()}
                    return self._freeing.until(through_of, lambda freed: freed >= size, cause)
                case Thin() | Tend():
                    return self._tend(job)
                case Check(lane=lane, segment=segment):
                    damage = self.lanes[lane].inspect(segment.first)
                    return int(damage is not None and self._put_right(self.lanes[lane], damage))
                case Renew() | Replace():
                    return self._follow_keys(job)
        except OSError as error:
            return Transient(f"cannot tend records: {error}")

    def _tend(self, job: Thin | Tend) -> int:
        if isinstance(job, Thin):
            return self._thin_through(job.through, job.cause)
        return int(self._reserve.hold())

    def _follow_keys(self, job: Renew | Replace) -> int:
        if isinstance(job, Replace):
            return int(self.lanes[job.lane].rewritten(job.segment, job.size))
        for lane in self.lanes.values():
            lane.renew()
        return 1

    def _acknowledged(self, lane: Lane, through: int) -> int:
        return min(through, self.acknowledged[lane])

    def _free_early(self, lanes: Sequence[Lane], enough: Callable[[], bool], cause: str) -> bool:
        """Drops acknowledged records of these lanes, oldest files first, until `enough`; tells what it dropped."""
        through = {lane: self.acknowledged[lane] for lane in lanes}
        self._freeing.until(through, lambda _: enough(), cause)
        return enough()

    def _thin_samples(self) -> None:
        """Lets the oldest samples above their limit go."""
        lane = self.lanes["sample"]
        while lane.bytes > self._limits.sample and len(lane.view.segments) > 1:
            if not self._let_oldest_samples_go("thinned"):
                return

    def _thin_through(self, through: int, cause: str) -> int:
        lane = self.lanes["sample"]
        before = self.counters.thinned
        while len(lane.view.segments) > 1 and lane.view.segments[0].last <= through:
            if not self._let_oldest_samples_go(cause):
                break
        return self.counters.thinned - before

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
        self._own.gap("sample", lost, segment, cause)
        return self._flush().get("event")

    def _free_bytes(self) -> int:
        held = sum(lane.bytes for lane in self.lanes.values())
        return self.allowance.free(held + self._reserve.held_bytes)

    def _put_right(self, lane: LaneLog, damage: Damage) -> bool:
        """Reports a damaged file and sets it aside. False: not now, the next reader or start tries again."""
        path = damage.segment.path
        missing = ", ".join(f"{lost.first} to {lost.last}" for lost in damage.lost) or "none known"
        text = (
            f"{path.name} of lane «{lane.lane}» is damaged and set aside; lost records: {missing}"
        )
        log.error("%s", text)
        for lost in damage.lost:
            self._own.gap(lane.lane, lost, damage.segment, "damaged")
        if damage.lost and "event" in self._flush():
            return False
        try:
            lane.set_aside(damage)
        except OSError as error:
            log.warning("cannot set %s aside: %s", path, error)
            return False
        self.counters.lost += sum(lost.count for lost in damage.lost)
        self._own.note("skerry.storage.damaged", text, {"file": f"{path}.damaged"})
        self._flush()
        return True


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
