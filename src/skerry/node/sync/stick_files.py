"""Cuts an export into files: each with a header of its own, sealed with a key of its own, whole by itself.

So a stick that is full, or pulled out, still has whole files, and each of them is worth taking to the hub.
"""

from __future__ import annotations

import msgspec

from skerry.core.stick_seal import StickSeal
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, Refused
from skerry.kit.ids import random_token
from skerry.kit.sealing.format import OVERHEAD
from skerry.kit.units import format_size
from skerry.wire.codec import encode
from skerry.wire.stick import (
    BLOCK,
    FORMAT,
    FRAME_HEAD,
    HEADER,
    LAST,
    MAGIC,
    Block,
    Contents,
    StickHeader,
    frame,
    pack,
    split,
)
from skerry.wire.sync import Lane, LanePoint, PushUnit

_ENDING = 4096
_A_FILE = 80
"""Bytes that the last block takes at most, and more of them for each file that it names."""

SMALLEST = 256 * 1024
"""Bytes of room below which an export is not worth beginning."""


class Identity(msgspec.Struct, frozen=True):
    """Who seals, and for whom."""

    node: str
    hub: str
    secret_hash: str

    def __repr__(self) -> str:
        return f"Identity({self.node})"


class _File(msgspec.Struct):
    """The file that is being filled."""

    seal: StickSeal
    size: int
    blocks: int = 0
    lanes: dict[Lane, tuple[int, int]] = {}
    files: dict[str, None] = {}
    records: int = 0

    @property
    def ending(self) -> int:
        """What must be left for the last block."""
        return _ENDING + _A_FILE * len(self.files)


class Sheaf:
    """The files of one export, of at most `part` bytes each and `room` together. `full`: something had no room."""

    def __init__(self, who: Identity, clock: Clock, incarnation: str, room: int, part: int) -> None:
        if room < SMALLEST:
            raise Refused(
                f"cannot export: there is room for {format_size(max(room, 0))}. Remove something from the stick."
            )
        self.after: dict[Lane, LanePoint] = {}
        self.full = False
        self._who = who
        self._clock = clock
        self._incarnation = incarnation
        self._room = room
        self._part = max(part, SMALLEST)
        self._export = random_token()
        self._parts = 0
        self._file: _File | None = None

    def share_of(self, most: int, least: int) -> int:
        """A size from `least` to `most` of which some fit into one file."""
        return max(min(most, self._part // 4, self._room // 4), least)

    def add(self, block: Block, records: int) -> list[bytes]:
        """The frames that this block makes. Without room for it, it is left out, and the sheaf is `full`."""
        packed = pack(block)
        size = FRAME_HEAD + OVERHEAD + len(packed)
        frames: list[bytes] = []
        if self._file is not None and self._file.size + size + self._file.ending > self._part:
            frames += self.end()
        if self._file is None:
            if size + 2 * _ENDING > self._room:
                self.full = True
                return frames
            frames += self._begin()
        file = self._file
        assert file is not None  # noqa: S101 - begun just now
        if size + file.ending + _A_FILE > self._room:
            self.full = True
            return frames
        frames.append(self._sealed(BLOCK, packed))
        _note(file, block, records)
        return frames

    def end(self) -> list[bytes]:
        """The last frame of the file that is being filled, if there is one."""
        file = self._file
        if file is None:
            return []
        contents = Contents(
            self._incarnation, file.lanes, self.after, list(file.files), file.records
        )
        ended = self._sealed(LAST, pack(Block(contents=contents)))
        self._file = None
        return [ended]

    def _begin(self) -> list[bytes]:
        self._parts += 1
        header = StickHeader(
            FORMAT, "data", self._who.node, self._who.hub, random_token(), self._export, self._parts,
            self._clock.wall_ns(),
        )  # fmt: skip
        text = encode(header)
        began = frame(HEADER, text)
        self._file = _File(StickSeal(self._who.secret_hash, header, text), len(MAGIC) + len(began))
        self._room -= self._file.size
        return [began]

    def _sealed(self, kind: bytes, packed: bytes) -> bytes:
        file = self._file
        assert file is not None  # noqa: S101 - its callers have begun it
        made = frame(kind, file.seal.seal(packed, file.blocks, last=kind == LAST))
        file.blocks += 1
        file.size += len(made)
        self._room -= len(made)
        return made


def _note(file: _File, block: Block, records: int) -> None:
    file.records += records
    if block.unit:
        unit = msgspec.json.decode(block.unit, type=PushUnit)
        count = records or len(unit.frames)
        first, _ = file.lanes.get(unit.lane, (unit.first, 0))
        file.lanes[unit.lane] = (first, unit.first + count - 1)
    if block.manifest is not None:
        file.files[block.manifest.sha256] = None
    if block.piece is not None:
        file.files[block.piece.sha256] = None


class Opened(msgspec.Struct, frozen=True):
    """A file of one block, taken apart."""

    header: bytes
    sealed: bytes

    @classmethod
    def of(cls, data: bytes) -> Opened:
        """Raises InvalidInput when it is none."""
        rest = bytearray(data.removeprefix(MAGIC))
        found = [split(rest), split(rest)]
        match found:
            case [(kind, header), (last, sealed)] if (kind, last) == (HEADER, LAST) and not rest:
                return cls(header, sealed)
            case _:
                raise InvalidInput("it is no receipt of Skerry's, or a damaged one")
