"""Opening a lane: which files there are, where the lane ends, which publishers it knows, what is damaged.

Reads the headers and the last file only; an older file is read whole when its successor's header does not
vouch for it. Bad bytes never refuse a start and never pass silently: a damaged file is reported as
`Damage`, and `LaneLog.set_aside` puts in its place what is readable in it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
from msgspec.structs import replace

from skerry.core.lanes import extend
from skerry.kit.disk import Disk
from skerry.node.store.frame_cipher import FrameCipher
from skerry.node.store.segments import (
    FORMAT,
    GROUP,
    HEADER,
    Before,
    Contents,
    Frame,
    Header,
    Segment,
    Times,
    examine,
    frame_at,
)
from skerry.node.store.sessions import Sessions
from skerry.wire.codec import decode
from skerry.wire.records import Batch
from skerry.wire.sync import NO_CHAIN, LanePoint

log = logging.getLogger(__name__)

HEAD_FILE = "head"
"""The lane's head at the last clean stop, where its files are sealed."""

_HEADER_READS = (4096, 65536)  # a usual header, and one with a full table of sessions


class Lost(msgspec.Struct, frozen=True):
    """Numbers `first` to `last` are gone; their neighbours were accepted at `since` and `until` (ns, 0: none)."""

    first: int
    last: int
    since: int
    until: int

    @property
    def count(self) -> int:
        """How many records."""
        return self.last - self.first + 1


class Damage(msgspec.Struct, frozen=True):
    """A file with bad or missing bytes, what is readable in it, and what is not."""

    segment: Segment
    header: Header | None
    frames: tuple[Frame, ...]
    lost: tuple[Lost, ...]


class Found(msgspec.Struct):
    """A lane's files, oldest first. `torn`: the last one ends in an unfinished group, beyond its `size`.

    `opened_at` is the monotonic time (ns) at which the last file's first record was accepted.
    """

    segments: list[Segment] = []
    sessions: Sessions = msgspec.field(default_factory=Sessions)
    damages: list[Damage] = []
    torn: bool = False
    opened_at: int = 0
    head: LanePoint = msgspec.field(default_factory=LanePoint)


class _Known(msgspec.Struct, frozen=True):
    """A readable header, and the chain that its frame carries."""

    header: Header
    previous: str
    end: int
    """Where the header's frame ends."""


def load(directory: Path, disk: Disk, cipher: FrameCipher) -> Found:
    """Everything about the lane in `directory`, which is made when missing. Raises StateTooNew and OSError."""
    disk.make_directory("segment.directory", directory)
    paths = _tidy(directory, disk)
    headers = [_read_header(path, cipher) for path in paths]
    newest = max((index for index, known in enumerate(headers) if known), default=0)
    found = Found()
    for index, path in enumerate(paths):
        known = headers[index]
        after = headers[index + 1] if index + 1 < len(paths) else None
        until = _first(paths[index + 1]) if index + 1 < len(paths) else None
        if known and index == newest:
            found.sessions = Sessions(known.header.sessions)
        before = _vouched(path, known, after) if index < newest else None
        if known and after and before and until:
            found.segments.append(_from_headers(path, known, after, before, until))
        else:
            _take_up(found, path, until, cipher, counts=index >= newest)
    marked = _marked_head(directory, cipher)
    if marked.n > found.head.n:
        _miss_tail(found, marked, cipher)
    return found


def inspect(segment: Segment, before: Segment | None, cipher: FrameCipher) -> Damage | None:
    """Reads a file of the running lane again; None when nothing is wrong with it. Raises OSError."""
    data = _read(segment.path, segment.size)
    contents = examine(data, segment.first, segment.last + 1, cipher.opened_or_hole)
    if not contents.damaged:
        return None
    index = _Index(segment.path, contents, before)
    for frame in contents.frames:
        index.add(frame)
    return index.damage()


def salvage(damage: Damage, cipher: FrameCipher, sessions: Sessions) -> tuple[bytes, Segment]:
    """A whole file of what is readable in a damaged one; `sessions` stand in for those of a lost header."""
    segment = damage.segment
    header = Header(
        FORMAT,
        cipher.lane,
        segment.boot_id,
        damage.header.sessions if damage.header else sessions.entries(),
        damage.header.before if damage.header else None,
        salvaged=True,
    )
    frames = [
        cipher.frame(GROUP, frame.first, frame.count, frame.previous, frame.payload)
        for frame in damage.frames
    ]
    data = b"".join((cipher.header(header, segment.first, segment.previous), *frames))
    return data, replace(segment, size=len(data), salvaged=True)


def _tidy(directory: Path, disk: Disk) -> list[Path]:
    """Ends what a crash interrupted; returns the segment files, oldest first."""
    for salvaged in directory.glob("*.seg.salvaged"):
        whole = salvaged.with_suffix("")
        if whole.exists():
            disk.unlink("segment.tidy", salvaged)
        else:  # killed when the damaged file had just got its new name
            disk.rename("segment.salvaged", salvaged, whole)
    for leftover in (*directory.glob("*.new"), *directory.glob("*.seg.rewriting")):
        disk.unlink("segment.tidy", leftover)
    return sorted(directory.glob("[0-9]" * 20 + ".seg"))


def rewriting(path: Path) -> Path:
    """Where a segment file is rewritten before it takes the place of `path`."""
    return path.with_name(path.name + ".rewriting")


def _first(path: Path) -> int:
    return int(path.stem)


def _read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _read_header(path: Path, cipher: FrameCipher) -> _Known | None:
    for size in _HEADER_READS:
        frame = frame_at(_read(path, size), 0)
        if frame is not None and frame.mark == HEADER and frame.first == _first(path):
            header = cipher.read_header(frame)
            return _Known(header, frame.previous, frame.end) if header else None
    return None


def _vouched(path: Path, known: _Known | None, after: _Known | None) -> Before | None:
    """What the next file's header, or its own, says of this one; None when it must be read whole."""
    size = path.stat().st_size
    if known is not None and known.header.whole is not None:
        whole = known.header.whole
        told = Before(_first(path), known.end + whole.size, whole.times)
        return told if told.size == size else None
    before = after.header.before if after else None
    if known is None or known.header.salvaged or before is None:
        return None
    if before.first != _first(path) or before.size > size:
        return None
    return before


def _from_headers(path: Path, known: _Known, after: _Known, before: Before, until: int) -> Segment:
    return Segment(
        path,
        before.first,
        until - 1,
        known.previous,
        after.previous,
        known.header.boot_id,
        before.size,
        before.times,
    )


def _take_up(
    found: Found, path: Path, until: int | None, cipher: FrameCipher, *, counts: bool
) -> None:
    """Reads a file whole. `counts`: its records are in no header's table of sessions yet."""
    data = path.read_bytes()
    contents = examine(data, _first(path), until, cipher.opened_or_hole)
    index = _Index(path, contents, found.segments[-1] if found.segments else None)
    for frame in contents.frames:
        batch = index.add(frame)
        if counts:
            found.sessions.note(batch.session, batch.counter + batch.records[-1].offset)
    found.segments.append(index.segment)
    if contents.damaged:
        found.damages.append(index.damage())
    if until is None:
        found.head = LanePoint(max(contents.reach, index.segment.last), index.segment.chain)
        found.opened_at = index.opened_at
        found.torn = len(data) > contents.size
        if found.torn:
            log.warning(
                "%s ends in %d bytes that were never acknowledged; cutting them off",
                path,
                len(data) - contents.size,
            )


def _marked_head(directory: Path, cipher: FrameCipher) -> LanePoint:
    path = directory / HEAD_FILE
    marked = cipher.read_head(path.read_bytes()) if path.exists() else None
    return marked or LanePoint()


def _miss_tail(found: Found, marked: LanePoint, cipher: FrameCipher) -> None:
    """The lane once went on to `marked`: its numbers must not be given again, and what is missing is damage."""
    found.head = marked
    if not found.segments:
        log.error("all files of lane «%s» are gone, up to record %d", cipher.lane, marked.n)
        return
    last = found.segments.pop()
    found.damages = [damage for damage in found.damages if damage.segment is not last]
    _take_up(found, last.path, marked.n + 1, cipher, counts=True)
    found.torn = False


class _Index:
    """Builds the index entry of one file, frame by frame."""

    def __init__(self, path: Path, contents: Contents, before: Segment | None) -> None:
        first = _first(path)
        previous = contents.previous
        if previous is None:  # the header is lost: a neighbour may know the chain
            frames = contents.frames
            if before is not None and before.last == first - 1:
                previous = before.chain
            else:
                previous = frames[0].previous if frames else NO_CHAIN
        header = contents.header
        self._contents = contents
        self._accepted: list[tuple[Frame, int]] = []
        self.opened_at = 0
        self.segment = Segment(
            path,
            first,
            first - 1,
            previous,
            previous,
            header.boot_id if header else "",
            contents.size,
            Times(),
            salvaged=header.salvaged if header else False,
        )

    def add(self, frame: Frame) -> Batch:
        """Takes note of the next frame, which is open; returns its batch."""
        plain = frame.payload
        batch = decode(plain, Batch, f"record {frame.first} of {self.segment.path}")
        if not self._accepted:
            self.opened_at = batch.monotonic
        self._accepted.append((frame, batch.accepted_at))
        self.segment = replace(
            self.segment,
            last=frame.last,
            chain=extend(frame.previous, plain),
            times=self.segment.times.including(batch),
        )
        return batch

    def damage(self) -> Damage:
        """What is wrong with the file, once all frames have been added."""
        contents = self._contents
        return Damage(
            self.segment,
            contents.header,
            contents.frames,
            tuple(self._lost(first, last) for first, last in contents.lost),
        )

    def _lost(self, first: int, last: int) -> Lost:
        earlier = [at for frame, at in self._accepted if frame.last < first]
        later = [at for frame, at in self._accepted if frame.first > last]
        return Lost(first, last, earlier[-1] if earlier else 0, later[0] if later else 0)
