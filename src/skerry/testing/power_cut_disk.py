"""`kit.disk.Disk` on a volume that loses its power: the real disk's own steps, each of them kept book of."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from skerry.kit.disk import RealDisk
from skerry.testing.power_cut import File, Volume

_PLENTY = 1 << 40


class PowerCutDisk(RealDisk):
    """What is written, synced and named below `volume.root` by the steps of `RealDisk`, in their order."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._files: dict[int, File] = {}

    def free_bytes(self, path: Path) -> int:  # noqa: ARG002 - the same for all, so that a seed repeats
        return _PLENTY

    def total_bytes(self, path: Path) -> int:  # noqa: ARG002
        return _PLENTY

    def _open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        fd = super()._open(path, flags, mode)
        self._files[fd] = self._volume.open(path)
        return fd

    def _write(self, fd: int, data: memoryview) -> int:
        appends = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        at = os.fstat(fd).st_size if appends else os.lseek(fd, 0, os.SEEK_CUR)
        written = super()._write(fd, data)
        self._volume.write(self._files[fd], at, bytes(data[:written]))
        return written

    def _truncate(self, fd: int, size: int) -> None:
        super()._truncate(fd, size)
        self._volume.truncate(self._files[fd], size)

    def _sync(self, fd: int) -> None:
        self._volume.sync(self._files[fd])

    def _rename(self, path: Path, target: Path) -> None:
        super()._rename(path, target)
        self._volume.rename(path, target)

    def _unlink(self, path: Path) -> None:
        there = path.exists()
        super()._unlink(path)
        if there:
            self._volume.unlink(path)

    def _make_directory(self, path: Path, mode: int) -> bool:
        made = super()._make_directory(path, mode)
        if made:
            self._volume.make_directory(path)
        return made

    def _sync_directory(self, path: Path) -> None:
        self._volume.sync_directory(path)
