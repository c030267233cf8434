"""One lane's segment files, as its only writer sees them: stage, flush, roll, drop, set aside.

Every method runs in the commit thread. `view` is what the others see: an immutable picture that changes
after a flush, never during one. A failed flush leaves nothing behind that counts: the bytes past the
last synced size are cut off before anything else is appended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.core.lanes import extend
from skerry.kit.clock import NS
from skerry.kit.disk import Disk
from skerry.kit.sealing.cipher import Cipher
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.lane_recovery import (
    HEAD_FILE,
    Damage,
    inspect,
    load,
    rewriting,
    salvage,
)
from skerry.node.store.segments import (
    FOLLOWING,
    FORMAT,
    GROUP,
    OVERHEAD,
    Before,
    Header,
    Segment,
    Times,
)
from skerry.node.store.sessions import Sessions
from skerry.wire.codec import encode
from skerry.wire.records import Batch
from skerry.wire.sync import Lane, LanePoint

MAX_PAYLOAD = 256 * 1024
MAX_AGE = 24 * 3600 * NS
"""A segment takes records for at most a day, so that retention by whole segments stays close to its rule."""


class LaneView(msgspec.Struct, frozen=True):
    """A lane at one moment. Bytes beyond a segment's `size` are not there."""

    segments: tuple[Segment, ...]
    head: LanePoint

    @property
    def base(self) -> LanePoint:
        """The point just before the oldest record that may still be here."""
        if not self.segments:
            return self.head
        return LanePoint(self.segments[0].first - 1, self.segments[0].previous)


class Piece(msgspec.Struct, frozen=True):
    """One frame to be: a batch and its JSON."""

    batch: Batch
    plain: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in the file."""
        return OVERHEAD + len(self.plain)


def cut(batch: Batch) -> list[Piece]:
    """`batch` as one piece, or halved until each piece has at most MAX_PAYLOAD bytes or one record."""
    plain = encode(batch)
    if len(plain) <= MAX_PAYLOAD or len(batch.records) == 1:
        return [Piece(batch, plain)]
    half = len(batch.records) // 2
    return [
        piece
        for records in (batch.records[:half], batch.records[half:])
        for piece in cut(replace(batch, records=records))
    ]


class LaneLog:
    """The files of `lane` in `directory`. After `open`, everything that was ever synced is there again."""

    def __init__(
        self,
        lane: Lane,
        directory: Path,
        *,
        boot_id: str,
        segment_bytes: int,
        disk: Disk,
        cipher: Cipher,
    ) -> None:
        self.lane = lane
        self.directory = directory
        self._boot_id = boot_id
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._cipher = FrameCipher(cipher, lane)
        self._fd: int | None = None
        self._segments: list[Segment] = []
        self._head = LanePoint()
        self._sessions = Sessions()
        self._opened_at = 0
        self._writable = False
        self._unsynced = False
        self._staged: list[bytes] = []
        self._staged_batches: list[Batch] = []
        self._staged_sessions: dict[str, int] = {}
        self._next = self._head
        self.bytes = 0
        self.view = LaneView((), self._head)

    def open(self) -> list[Damage]:
        """Takes up the files; returns the damaged ones, which stay as they are until `set_aside`."""
        found = load(self.directory, self._disk, self._cipher)
        self._segments = found.segments
        self._sessions = found.sessions
        self._unsynced = found.torn
        self._opened_at = found.opened_at
        last = self._segments[-1] if self._segments else None
        if last is not None:
            self._writable = last.boot_id == self._boot_id and not any(
                damage.segment is last for damage in found.damages
            )
        self._head = found.head
        self._reset()
        self._publish()
        return found.damages

    def close(self) -> None:
        """Closes the file that is being written."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @property
    def worth(self) -> int:
        """The bytes from which it is worth while to end the file that is being written before its time."""
        return min(64 * 1024, self._segment_bytes // 4)

    @property
    def staged_bytes(self) -> int:
        """What the next flush will append."""
        return sum(map(len, self._staged))

    def last_counter(self, session: str) -> int:
        """The highest counter of `session` that is here or staged."""
        return self._staged_sessions.get(session, self._sessions.last(session))

    def stage(self, pieces: Sequence[Piece]) -> None:
        """Takes pieces for the next flush and gives their records the lane's next numbers."""
        for piece in pieces:
            batch = piece.batch
            count = len(batch.records)
            self._staged.append(
                self._cipher.frame(
                    FOLLOWING if self._staged else GROUP,
                    self._next.n + 1,
                    count,
                    self._next.chain,
                    piece.plain,
                )
            )
            self._next = LanePoint(self._next.n + count, extend(self._next.chain, piece.plain))
            self._staged_batches.append(batch)
            self._staged_sessions[batch.session] = batch.counter + batch.records[-1].offset

    def flush(self) -> None:
        """Appends and syncs what is staged. Raises OSError; then nothing of it is in the lane."""
        if not self._staged:
            return
        data = b"".join(self._staged)
        try:
            fd = self._file_for(len(data))
            self._unsynced = True
            self._disk.append("segment.append", fd, data)
            self._disk.sync("segment.sync", fd)
            self._unsynced = False
        except OSError:
            self._reset()
            with contextlib.suppress(OSError):
                self._cut_unsynced()  # when this fails too, it is tried again before the next append
            raise
        self._take_over(len(data))

    def seal(self) -> None:
        """Ends the file that is being written, so that it can be dropped. Raises OSError."""
        if self._segments and self._segments[-1].last >= self._segments[-1].first:
            self._cut_unsynced()
            self._roll()

    def renew(self) -> None:
        """Goes on in a new file, whatever is in this one, under the keys that are in force now. Raises OSError."""
        if self._segments:
            self._cut_unsynced()
            self._roll()
        self.mark_head()

    def mark_head(self) -> None:
        """Leaves the head beside sealed files: one that is cut off behind it is known for damaged. Raises OSError."""
        if self._cipher.seals and self._head.n:
            path = self.directory / HEAD_FILE
            self._disk.write_atomic("segment.head", path, self._cipher.head(self._head))

    def rewritten(self, segment: Segment, size: int) -> bool:
        """Takes a rewritten file in the place of `segment`. False: that is not here any more. Raises OSError.

        A crash may bring the old file back until the directory is synced, which is not done here: publishers wait.
        """
        path = rewriting(segment.path)
        if segment not in self._segments[:-1]:
            self._disk.unlink("segment.rewrite-drop", path)
            return False
        self._disk.swap("segment.rewritten", path, segment.path)
        self._segments[self._segments.index(segment)] = replace(segment, size=size)
        self._publish()
        return True

    def drop_oldest(self) -> None:
        """Removes the oldest file; the newest one stays, because it carries numbers and sessions on. Raises OSError."""
        oldest = self._segments[0]
        self._disk.unlink("segment.drop", oldest.path)
        del self._segments[0]
        self._publish()
        # A power cut must not bring it back without the next one, which would look like lost records.
        self._disk.sync_directory("segment.dropped", self.directory)

    def inspect(self, first: int) -> Damage | None:
        """Reads the file that begins with number `first` again; None when it is whole or gone. Raises OSError.

        A damaged file takes no further records.
        """
        for before, segment in zip([None, *self._segments], self._segments, strict=False):
            if segment.first == first:
                damage = inspect(segment, before, self._cipher)
                if damage is not None and segment is self._segments[-1]:
                    self._end_file()
                return damage
        return None

    def set_aside(self, damage: Damage) -> None:
        """Puts what is readable in the place of a damaged file, which gets the suffix «.damaged».

        Killed in between, the next `open` ends it. Raises OSError; then the file is where it was.
        """
        path = damage.segment.path
        readable = path.with_name(path.name + ".salvaged")
        damaged = path.with_name(path.name + ".damaged")
        data, segment = salvage(damage, self._cipher, self._sessions)
        self._disk.write_atomic("segment.salvage", readable, data)
        try:
            self._disk.rename("segment.set-aside", path, damaged)
            self._disk.rename("segment.salvaged", readable, path)
        except OSError:
            if not path.exists():
                self._disk.rename("segment.restore", damaged, path)
            raise
        index = next(index for index, held in enumerate(self._segments) if held.path == path)
        self._segments[index] = segment
        self._publish()

    def _file_for(self, size: int) -> int:
        self._cut_unsynced()
        current = self._segments[-1] if self._writable else None
        if current is None or self._is_done(current, size):
            self._roll()
        if self._fd is None:
            self._fd = self._disk.open_append("segment.open", self._segments[-1].path)
        return self._fd

    def _is_done(self, current: Segment, size: int) -> bool:
        if current.last < current.first:
            return False
        age = self._staged_batches[-1].monotonic - self._opened_at
        return current.size + size > self._segment_bytes or age > MAX_AGE

    def _roll(self) -> None:
        self._end_file()  # even if the next step fails: it must not grow past its successor
        first = self._head.n + 1
        path = self.directory / f"{first:020d}.seg"
        before = next((s for s in reversed(self._segments) if s.first < first), None)
        header = Header(
            FORMAT,
            self.lane,
            self._boot_id,
            self._sessions.entries(),
            None if before is None else Before(before.first, before.size, before.times),
        )
        data = self._cipher.header(header, first, self._head.chain)
        self._disk.write_atomic("segment.roll", path, data)
        if self._segments and self._segments[-1].first == first:
            del self._segments[-1]  # an empty file of another boot, now replaced
        self._segments.append(
            Segment(
                path=path,
                first=first,
                last=first - 1,
                previous=self._head.chain,
                chain=self._head.chain,
                boot_id=self._boot_id,
                size=len(data),
                times=Times(),
            )
        )
        self._writable = True
        self._publish()

    def _end_file(self) -> None:
        self.close()
        self._writable = False

    def _cut_unsynced(self) -> None:
        if self._unsynced:
            current = self._segments[-1]
            self._disk.truncate("segment.truncate", current.path, current.size)
            self._unsynced = False

    def _take_over(self, size: int) -> None:
        current = self._segments[-1]
        times = current.times
        if current.last < current.first:
            self._opened_at = self._staged_batches[0].monotonic
        for batch in self._staged_batches:
            times = times.including(batch)
            self._sessions.note(batch.session, batch.counter + batch.records[-1].offset)
        self._head = self._next
        self._segments[-1] = replace(
            current,
            last=self._head.n,
            chain=self._head.chain,
            size=current.size + size,
            times=times,
        )
        self._reset()
        self._publish()

    def _reset(self) -> None:
        self._staged = []
        self._staged_batches = []
        self._staged_sessions = {}
        self._next = self._head

    def _publish(self) -> None:
        self.bytes = sum(segment.size for segment in self._segments)
        self.view = LaneView(tuple(self._segments), self._head)
