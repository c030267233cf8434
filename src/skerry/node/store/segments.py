"""Segment files: append-only, framed, checksummed. Pure: bytes in, values out.

    file   = header frame, frame, frame, …              name: first record's number, 20 digits, «.seg»
    frame  = mark 4 | crc32 4 | length 4 | count 4 | first 8 | previous 8 | payload

`first` is the lane's number of the frame's first record, `count` how many the frame holds and `previous` the
lane's chain before it, so that a frame can be sent and proved without its neighbours. The checksum covers
the whole frame but itself. The payload is the JSON of one `wire.records.Batch`; the header's payload carries what
must outlive older files. Both are sealed where encryption is on (`frame_cipher`).

The mark also says where a group begins. A group is written at once and synced before the next one is
written; so bad bytes in the last group are a *torn tail* (nobody was told «accepted») and bad bytes before
it are *damage*. `lane_log` writes these files, `lane_recovery` opens them, `lane_reader` reads them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from skerry.kit.sqlite import StateTooNew
from skerry.wire.records import INT64, Batch
from skerry.wire.sync import Lane

FORMAT = 1

HEADER = b"\xffSKH"
GROUP = b"\xffSKG"
FOLLOWING = b"\xffSKF"
_MARK = b"\xffSK"  # 0xff occurs in no UTF-8 text, so the search for the next frame is quick
_MARKS = frozenset({HEADER, GROUP, FOLLOWING})
_CHECKSUM = struct.Struct(">I")
_FIELDS = struct.Struct(">IIQ8s")
_START = len(HEADER) + _CHECKSUM.size
OVERHEAD = _START + _FIELDS.size
"""Bytes of a frame besides its payload."""


class Times(msgspec.Struct, frozen=True, array_like=True):
    """The span of a segment's record times, and when its newest record was accepted (wall and monotonic). All ns."""

    earliest_at: int = INT64 - 1
    latest_at: int = -INT64
    accepted_at: int = 0
    monotonic: int = 0

    def including(self, batch: Batch) -> Times:
        """The span after `batch` has been appended."""
        times = [record.at for record in batch.records]
        return Times(
            min(self.earliest_at, *times),
            max(self.latest_at, *times),
            batch.accepted_at,
            batch.monotonic,
        )


class Before(msgspec.Struct, frozen=True):
    """What a header says of the file before it, so that opening a lane reads only headers and the last file."""

    first: int
    size: int
    times: Times


class Whole(msgspec.Struct, frozen=True):
    """What a file that was written at once says of itself: bytes after its header, and the span of times."""

    size: int
    times: Times


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """Payload of a file's first frame. `sessions`: last counters of publishers, the longest silent first."""

    version: int
    lane: Lane
    boot_id: str
    sessions: list[tuple[str, int]]
    before: Before | None = None
    salvaged: bool = False
    """Rewritten from a damaged file: numbers may be missing, and that has been reported."""
    whole: Whole | None = None
    """Rewritten under another key, so the next file's `before` may not know its size."""


class _Version(msgspec.Struct):
    version: int


class Segment(msgspec.Struct, frozen=True):
    """One file: numbers `first` to `last` (`first` - 1 while empty), the chain before and after, synced bytes."""

    path: Path
    first: int
    last: int
    previous: str
    chain: str
    boot_id: str
    size: int
    times: Times
    salvaged: bool = False


class Frame(msgspec.Struct, frozen=True):
    """One intact frame of a file. `payload` is as it is stored until `frame_cipher` has opened it."""

    offset: int
    end: int
    mark: bytes
    first: int
    count: int
    previous: str
    payload: bytes

    @property
    def last(self) -> int:
        """The number of the frame's last record."""
        return self.first + self.count - 1


class Hole(msgspec.Struct, frozen=True):
    """Bytes in which there is no intact frame."""

    offset: int
    end: int


class Contents(msgspec.Struct, frozen=True):
    """What one file holds. `lost` are the numbers that should be in it and are not, as (first, last).

    `reach` is the last number that it had for certain, lost or not.
    """

    header: Header | None
    previous: str | None
    frames: tuple[Frame, ...]
    size: int
    damaged: bool
    lost: tuple[tuple[int, int], ...]
    reach: int = 0


def encode_frame(mark: bytes, first: int, count: int, previous: str, payload: bytes) -> bytes:
    """One frame. `payload` is sealed already."""
    fields = _FIELDS.pack(len(payload), count, first, bytes.fromhex(previous))
    return b"".join((mark, _CHECKSUM.pack(_checksum(mark, fields, payload)), fields, payload))


def encode_header(header: Header, first: int, previous: str) -> bytes:
    """The first frame of the file whose first record will be number `first`."""
    return encode_frame(HEADER, first, 0, previous, msgspec.json.encode(header))


def decode_header(frame: Frame) -> Header | None:
    """The header in `frame`, or None when it is none. Raises StateTooNew when a newer Skerry wrote it."""
    try:
        version = msgspec.json.decode(frame.payload, type=_Version).version
        if version > FORMAT:
            raise StateTooNew(
                f"cannot read records: segment format {version}, this build knows {FORMAT}. "
                "Install the newer Skerry again."
            )
        return msgspec.json.decode(frame.payload, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def frame_at(data: bytes, offset: int) -> Frame | None:
    """The frame at `offset`; None when it is incomplete or fails its checksum."""
    mark = data[offset : offset + len(HEADER)]
    body = offset + OVERHEAD
    if mark not in _MARKS or body > len(data):
        return None
    fields = data[offset + _START : body]
    length, count, first, previous = _FIELDS.unpack(fields)
    end = body + length
    if end > len(data):
        return None
    payload = data[body:end]
    (checksum,) = _CHECKSUM.unpack_from(data, offset + len(HEADER))
    if checksum != _checksum(mark, fields, payload):
        return None
    return Frame(offset, end, mark, first, count, previous.hex(), payload)


def scan(data: bytes, offset: int = 0) -> Iterator[Frame | Hole]:
    """Everything from `offset` on: frames, and holes up to the next frame that is intact."""
    while offset < len(data):
        frame = frame_at(data, offset)
        if frame is None:
            end = _next_frame(data, offset + 1)
            yield Hole(offset, end)
            offset = end
        else:
            yield frame
            offset = frame.end


def examine(
    data: bytes,
    first: int,
    until: int | None,
    opened: Callable[[Frame | Hole], Frame | Hole] = lambda item: item,
) -> Contents:
    """Judges a file that is named `first`; `until` is the next file's name, None for the lane's last file.

    In the last file a torn tail is no damage: it ends before `size`, where appending goes on. `opened` gives what is
    sealed in plain; a frame that is whole and does not open was never torn, it is damage.
    """
    stored = list(scan(data))
    if until is None:
        stored = stored[: _torn_from(stored)]
    items = [opened(item) for item in stored]
    size = items[-1].end if items else 0
    header, previous = None, None
    if items and isinstance(items[0], Frame) and items[0].mark == HEADER:
        header = decode_header(items[0])
        previous = items[0].previous if header else None
    frames, out_of_order = _in_order(items, first, until)
    reach = max((item.last for item in stored if isinstance(item, Frame)), default=first - 1)
    lost = _missing(frames, first, reach + 1 if until is None else until)
    salvaged = header is not None and header.salvaged
    damaged = (
        header is None
        or out_of_order
        or any(isinstance(item, Hole) for item in items)
        or (bool(lost) and not salvaged)
    )
    return Contents(header, previous, frames, size, damaged, lost, reach)


def _torn_from(items: Sequence[Frame | Hole]) -> int:
    """The index of the first hole of the last group; the number of items when that group is whole."""
    torn = len(items)
    for index in range(len(items) - 1, 0, -1):
        item = items[index]
        if isinstance(item, Hole):
            torn = index
        elif item.mark == GROUP:
            break
    return torn


def _in_order(
    items: Sequence[Frame | Hole], first: int, until: int | None
) -> tuple[tuple[Frame, ...], bool]:
    frames: list[Frame] = []
    out_of_order = False
    expected = first
    for item in items:
        if isinstance(item, Hole) or item.mark == HEADER:
            continue
        if item.first < expected or (until is not None and item.last >= until):
            out_of_order = True
            continue
        frames.append(item)
        expected = item.last + 1
    return tuple(frames), out_of_order


def _missing(frames: Sequence[Frame], first: int, until: int | None) -> tuple[tuple[int, int], ...]:
    missing = []
    expected = first
    for frame in frames:
        if frame.first > expected:
            missing.append((expected, frame.first - 1))
        expected = frame.last + 1
    if until is not None and expected < until:
        missing.append((expected, until - 1))
    return tuple(missing)


def _next_frame(data: bytes, offset: int) -> int:
    """Where the next intact frame begins; the length of `data` when there is none."""
    place = data.find(_MARK, offset)
    while place >= 0 and frame_at(data, place) is None:
        place = data.find(_MARK, place + 1)
    return len(data) if place < 0 else place


def _checksum(mark: bytes, fields: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(fields, zlib.crc32(mark)))
