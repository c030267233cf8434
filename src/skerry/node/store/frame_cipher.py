"""The cipher as one lane uses it: a frame, a header and the lane's head each open only in their own place."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.kit.errors import Corrupt
from skerry.kit.sealing.cipher import Cipher, Place
from skerry.kit.sealing.format import is_sealed
from skerry.node.store.segments import (
    HEADER,
    Frame,
    Header,
    Hole,
    decode_header,
    encode_frame,
)
from skerry.wire.codec import encode
from skerry.wire.sync import Lane, LanePoint


class FrameCipher:
    """Seals and opens what the files of `lane` consist of."""

    def __init__(self, cipher: Cipher, lane: Lane) -> None:
        self.lane = lane
        self._cipher = cipher

    @property
    def seals(self) -> bool:
        """Whether payloads are encrypted."""
        return self._cipher.seals

    def frame(self, mark: bytes, first: int, count: int, previous: str, plain: bytes) -> bytes:
        """A frame for the file, from its plain payload."""
        place = self._place("frame", str(first), str(count), previous)
        return encode_frame(mark, first, count, previous, self._cipher.seal(plain, place))

    def header(self, header: Header, first: int, previous: str) -> bytes:
        """The first frame of a file."""
        place = self._place("header", str(first), previous)
        return encode_frame(HEADER, first, 0, previous, self._cipher.seal(encode(header), place))

    def opened(self, frame: Frame) -> Frame:
        """With its payload plain. Raises Corrupt when it was not sealed here, KeyMissing without a key."""
        if not self._cipher.seals and not is_sealed(frame.payload):
            return frame
        numbers = (str(frame.first), frame.previous)
        if frame.mark == HEADER:
            place = self._place("header", *numbers)
        else:
            place = self._place("frame", numbers[0], str(frame.count), numbers[1])
        return msgspec.structs.replace(frame, payload=self._cipher.open(frame.payload, place))

    def opened_or_hole(self, item: Frame | Hole) -> Frame | Hole:
        """As `opened`; bytes that do not open are no frame."""
        if isinstance(item, Hole):
            return item
        try:
            return self.opened(item)
        except Corrupt:
            return Hole(item.offset, item.end)

    def read_header(self, frame: Frame) -> Header | None:
        """The header in `frame`; None when there is none."""
        try:
            return decode_header(self.opened(frame))
        except Corrupt:
            return None

    def head(self, point: LanePoint) -> bytes:
        """The lane's head, for a file of its own."""
        return self._cipher.seal(encode(point), self._place("head"))

    def read_head(self, data: bytes) -> LanePoint | None:
        """What `head` was given; None when it is not that."""
        try:
            return msgspec.json.decode(self._cipher.open(data, self._place("head")), type=LanePoint)
        except (Corrupt, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def are_current(self, items: Sequence[Frame | Hole]) -> bool:
        """Whether everything is sealed as it would be now."""
        return all(
            isinstance(item, Frame) and self._cipher.is_current(item.payload) for item in items
        )

    def _place(self, what: str, *row: str) -> Place:
        return Place("segment", what, (self.lane, *row))
