"""Bytes held back on the disk, so that a full disk still takes what the node itself must write."""

from __future__ import annotations

from pathlib import Path

from skerry.kit.disk import Disk

_ROOM = 3
"""The reserve is only taken up again when the disk has this many times its size: others must not starve."""


class Reserve:
    """A file of `size` bytes at `path`. While it is given up, workloads' records are refused."""

    def __init__(self, path: Path, size: int, disk: Disk) -> None:
        self._path = path
        self._size = size
        self._disk = disk
        self._held = False

    @property
    def needed(self) -> int:
        """Bytes that must be free before it is taken up again."""
        return _ROOM * self._size

    def open(self) -> None:
        """Looks whether it is there."""
        self._held = self._path.is_file() and self._path.stat().st_size == self._size

    def hold(self) -> bool:
        """Whether it is held, taking it up when there is room again."""
        if not self._held and self._disk.free_bytes(self._path.parent) >= self.needed:
            try:
                self._disk.write_atomic("reserve.hold", self._path, bytes(self._size))
            except OSError:
                return False
            self._held = True
        return self._held

    def release(self) -> None:
        """Gives it up to those who must write. Raises OSError."""
        if self._held:
            self._disk.unlink("reserve.release", self._path)
            self._held = False
