"""Flow control of one direction of a channel: how much the other side still takes, and what came from it."""

from __future__ import annotations

import struct

from skerry.kit.bell import Bell

_HEAD = struct.Struct(">HI")
"""Before each piece that waits: its stream and its size."""


class Credit:
    """Bytes that the other side is willing to take."""

    def __init__(self, window: int) -> None:
        self._left = window
        self._bell = Bell()

    def grant(self, size: int) -> None:
        """It has consumed so many, and takes them again."""
        self._left += size
        self._bell.ring()

    async def spend(self, size: int) -> None:
        """Waits until `size` bytes may be sent."""
        while self._left < size:
            await self._bell.after(self._bell.count)
        self._left -= size


class Inbox:
    """What came on a channel, in order, until somebody has taken it.

    All of it is one buffer: pieces of a byte each, of streams that alternate, cost a head each and not an object, seven
    times the window at worst. Neighbours of one stream are joined to pieces of up to `largest` bytes.
    """

    def __init__(self, window: int, largest: int) -> None:
        self._window = window
        self._largest = largest
        self._waiting = bytearray()
        self._last: tuple[int, int] | None = None
        """Stream and size of the piece at the end, where more may be joined to it."""
        self._bell = Bell()
        self.outstanding = 0
        self.ended = False

    def put(self, data: bytes, stream: int, *, whole: bool = False) -> bool:
        """False when the sender had no credit for the bytes, or had said that it ends. `whole`: they are joined to nothing."""
        if self.ended or self.outstanding + len(data) > self._window:
            return False
        if not data:  # it costs no credit, so any number could come
            return True
        self.outstanding += len(data)
        size = len(data)
        if (
            self._last is not None
            and not whole
            and self._last[0] == stream
            and self._last[1] + size <= self._largest
        ):
            start = len(self._waiting) - self._last[1] - _HEAD.size
            size += self._last[1]
            _HEAD.pack_into(self._waiting, start, stream, size)
        else:
            self._waiting += _HEAD.pack(stream, size)
        self._waiting += data
        self._last = None if whole else (stream, size)
        self._bell.ring()
        return True

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        self.ended = True
        self._bell.ring()

    async def take(self) -> tuple[bytes, int] | None:
        """The next piece, whose credit is to be granted again, and its stream; None at the end."""
        while not self._waiting and not self.ended:
            await self._bell.after(self._bell.count)
        if not self._waiting:
            return None
        stream, size = _HEAD.unpack_from(self._waiting)
        data = bytes(self._waiting[_HEAD.size : _HEAD.size + size])
        del self._waiting[: _HEAD.size + size]
        if not self._waiting:
            self._last = None
        self.outstanding -= size
        return data, stream
