"""Bytes held back on the disk, so that a full disk still takes what the node itself must write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from skerry.kit.disk import Disk

_SHARE = 32
"""It takes this part of the disk at most: a small device is there for its workloads."""

_ROOM = 3
"""It is only taken up again when the disk has this many times its size: others must not starve."""

_LOW = 4
"""It is given up when less than this part of its size is free beside it: before a write fails half-way."""

_LENT = 2
"""While it is given up, samples leave this part of its size to the node itself."""


class Reserve:
    """A file of up to `most` bytes at `path`. While it is given up, only samples that replace older ones are accepted.

    `free` and `total` say how much room there is, in bytes.
    """

    def __init__(
        self, path: Path, most: int, disk: Disk, free: Callable[[], int], total: Callable[[], int]
    ) -> None:
        self._path = path
        self._size = most
        self._disk = disk
        self._free = free
        self._total = total
        self._held = False

    @property
    def needed(self) -> int:
        """Bytes that must be free before it is taken up again."""
        return _ROOM * self._size

    @property
    def held_bytes(self) -> int:
        """What it takes now."""
        return self._size if self._held else 0

    @property
    def spare(self) -> int:
        """Bytes that others than publishers leave free: with less, it would soon have to be given up."""
        return self._size

    @property
    def lent(self) -> int:
        """Bytes that samples leave free while it is given up."""
        return self._size // _LENT

    def open(self) -> None:
        """Looks whether it is there, and how large it may be. The directory must exist."""
        self._size = min(self._size, self._total() // _SHARE)
        self._held = self._path.is_file()

    def hold(self) -> bool:
        """Whether it is held, by what is free now: given up on a disk that is nearly full, taken up when there is room."""
        free = self._free()
        try:
            if self._held and free < self._size // _LOW:
                self.release()
            elif not self._held and free >= self.needed:
                self._disk.write_atomic("reserve.hold", self._path, bytes(self._size))
                self._held = True
        except OSError:
            return False
        return self._held

    def release(self) -> None:
        """Gives it up to those who must write. Raises OSError."""
        if self._held:
            self._disk.unlink("reserve.release", self._path)
            self._held = False
