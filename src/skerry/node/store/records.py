"""The node's records: lanes event, keep and sample, each a directory of segment files below `directory`.

Accepting is a group commit: what waits is appended to its lanes and synced together, then every publisher
is answered. Reading needs no lock and may happen in any thread: push, subscribe and query all read
the same segments. Neighbours: `record_engine` (the commit thread's half), `lane_reader`, `data.publish`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from skerry.kit.bell import Bell
from skerry.kit.breath import Breath
from skerry.kit.clock import Clock
from skerry.kit.commit import CommitThread
from skerry.kit.disk import Disk
from skerry.kit.errors import Corrupt, Transient
from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.freeing import droppable
from skerry.node.store.lane_reader import LaneReader, Span, StoredFrame
from skerry.node.store.lane_recovery import rewriting
from skerry.node.store.record_engine import KEPT, RecordEngine
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
from skerry.node.store.rewriting import rewrite
from skerry.node.store.segments import Segment
from skerry.wire.records import Published
from skerry.wire.sync import RECORD_LANES, Lane, LanePoint


class RecordStore:
    """All accepted records that are still on this node. `bell` rings in the event loop after each commit."""

    def __init__(
        self, directory: Path, *, disk: Disk, clock: Clock, cipher: Cipher, limits: Limits
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._clock = clock
        self._cipher = cipher
        self._engine = RecordEngine(
            directory,
            disk=disk,
            clock=clock,
            cipher=cipher,
            limits=limits,
            committed=self._committed,
        )
        self._thread: CommitThread[Job, Result] = CommitThread(self._engine, name="records")
        self._readers = {lane: self._reader(lane, cipher) for lane in RECORD_LANES}
        self._checking: set[tuple[Lane, Path]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.bell = Bell()
        self.make_room: Callable[[int], Awaitable[None]] | None = None
        """What is asked for so many bytes before a submission is refused for want of room on the disk."""

    async def start(self) -> None:
        """Opens the lanes and begins to accept. Raises StateTooNew and OSError."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._thread.start)

    async def stop(self) -> None:
        """Commits what is queued and closes the files."""
        await asyncio.to_thread(self._thread.stop)
        self._loop = None

    async def pulse(self) -> None:
        """Returns when the thread that accepts records has come to it; writes nothing."""
        await self._thread.pulse()

    async def append(self, submission: Submission) -> Published:
        """Returns once the records are durable. Raises StorageFull, or Transient: then send the same again."""
        try:
            if self.make_room is None:
                return cast("Published", await self._thread.run(submission))
            first = msgspec.structs.replace(submission, last_try=False)
            try:
                return cast("Published", await self._thread.run(first))
            except RoomNeeded as error:
                await self.make_room(error.wanted)
            return cast("Published", await self._thread.run(submission))
        except OSError as error:
            raise Transient(
                f"cannot accept records: {error}. Send the same batch again."
            ) from error

    def head(self, lane: Lane) -> LanePoint:
        """The point after the newest record."""
        return self._engine.lanes[lane].view.head

    def base(self, lane: Lane) -> LanePoint:
        """The point just before the oldest record that is still here."""
        return self._engine.lanes[lane].view.base

    def segments(self, lane: Lane) -> tuple[Segment, ...]:
        """The lane's files, oldest first."""
        return self._engine.lanes[lane].view.segments

    def bytes(self, lane: Lane) -> int:
        """What the lane takes on disk."""
        return self._engine.lanes[lane].bytes

    def read(self, lane: Lane, after: int, max_records: int, max_bytes: int) -> Span | None:
        """Whole frames after record `after`; see `LaneReader.read`. Reads a file: not for the event loop."""
        return self._readers[lane].read(after, max_records, max_bytes)

    def frames(self, lane: Lane, segment: Segment) -> Iterator[StoredFrame]:
        """All frames of one file."""
        return self._readers[lane].frames(segment)

    def point_at(self, lane: Lane, n: int) -> str | None:
        """The chain after record `n`; None when it is not here any more or `n` lies inside a frame."""
        return self._readers[lane].point_at(n)

    def acknowledge(self, lane: Lane, through: int) -> None:
        """The hub holds everything up to record `through`. Say so again after each start: this is not stored."""
        self._engine.acknowledged[lane] = through

    def acknowledged(self, lane: Lane) -> int:
        """What `acknowledge` was last told."""
        return self._engine.acknowledged[lane]

    async def free(self, lane: Lane, through: int) -> int:
        """Drops whole files up to record `through`, never what the hub does not have; returns how many records."""
        through = min(through, self.acknowledged(lane))
        return await self._drop(
            [(Free(lane, each.last), each) for each in droppable(self.segments(lane), through)]
        )

    async def evict(self, through: Mapping[Lane, int], size: int, cause: str = "") -> int:
        """Drops about `size` bytes of acknowledged records up to these points; returns the bytes.

        With a `cause`, an event tells of it.
        """
        return cast("int", await self._thread.run(Evict(dict(through), size, cause)))

    async def thin(self, through: int) -> int:
        """Drops whole files of samples up to a record, whether the hub has them or not; returns how many it did not have.

        These become a gap.
        """
        finished = self.segments("sample")[:-1]
        return await self._drop(
            [(Thin(each.last, "retention"), each) for each in finished if each.last <= through]
        )

    async def renew_files(self) -> None:
        """From here on records go into new files under the keys of now. Raises Transient."""
        await self._thread.run(Renew())

    async def rewrite(self, lane: Lane, segment: Segment) -> bool:
        """Seals a finished file anew. False: it needed that not, is gone, or is damaged and being put right.

        Raises Transient when there is no room for a second copy, and OSError.
        """
        cipher = FrameCipher(self._cipher, lane)
        try:
            breathe, spare = Breath(self._clock), self._engine.spare
            written = await asyncio.to_thread(rewrite, segment, cipher, self._disk, breathe, spare)
        except FileNotFoundError:
            return False
        except Corrupt:
            if await self._thread.run(Check(lane, segment)):
                return True
            raise
        if written is None:
            return False
        if not await asyncio.to_thread(segment.path.exists):  # dropped meanwhile
            await asyncio.to_thread(
                self._disk.unlink, "segment.rewrite-drop", rewriting(segment.path)
            )
            return False
        async with _held_open(segment.path):
            await self._thread.run(Replace(lane, segment, written.size))
        return True

    async def keep_rewritten(self) -> None:
        """Returns when no crash brings back a file that was sealed anew. Raises Transient."""
        for lane in RECORD_LANES:
            try:
                await asyncio.to_thread(
                    self._disk.sync_directory, "segment.renewed", self._directory / lane
                )
            except OSError as error:
                raise Transient(f"cannot keep what was sealed anew: {error}") from error

    async def tend_reserve(self) -> None:
        """Takes the reserve up again if there is room, also while nothing is published."""
        await self._thread.run(Tend())

    def kept_room(self) -> int:
        """Bytes that events and records of class keep may still take, what the hub has being counted as free."""
        sent = sum(
            segment.size
            for lane in KEPT
            for segment in self.segments(lane)
            if segment.last <= self.acknowledged(lane)
        )
        return self._engine.kept_room() + sent

    def worth(self, lane: Lane) -> int:
        """Bytes from which the file that is being written is ended so that it can go."""
        return self._engine.lanes[lane].worth

    def beside(self, others: int) -> None:
        """So many bytes of the data directory are no records: what its limit leaves is for these."""
        self._engine.allowance.others = others

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        return self._engine.counters

    def damaged_files(self) -> list[Path]:
        """Files that were set aside and wait for a person."""
        return sorted(self._directory.glob("*/*.damaged"))

    def _reader(self, lane: Lane, cipher: Cipher) -> LaneReader:
        log = self._engine.lanes[lane]
        return LaneReader(
            lambda: log.view,
            FrameCipher(cipher, lane),
            lambda segment: self._check(lane, segment),
        )

    async def _drop(self, steps: Sequence[tuple[Free | Thin, Segment]]) -> int:
        """One file at a time, so that publishers need not wait for many."""
        dropped = 0
        for job, segment in steps:
            async with _held_open(segment.path):
                dropped += cast("int", await self._thread.run(job))
        return dropped

    def _check(self, lane: Lane, segment: Segment) -> None:
        key = (lane, segment.path)
        if key not in self._checking:
            self._checking.add(key)
            future = self._thread.submit(Check(lane, segment))
            future.add_done_callback(lambda _: self._checking.discard(key))

    def _committed(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.bell.ring)


@contextlib.asynccontextmanager
async def _held_open(path: Path) -> AsyncIterator[None]:
    """The file outlives its last name until the end of the block, when a worker frees it.

    Freeing a large one takes as long as writing it: nothing for the thread that publishers wait for.
    """
    file = await asyncio.to_thread(_opened, path)
    try:
        yield
    finally:
        if file is not None:
            await asyncio.to_thread(os.close, file)


def _opened(path: Path) -> int | None:
    """None: it is gone, or nothing more can be opened; then it is freed where it loses its name."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
