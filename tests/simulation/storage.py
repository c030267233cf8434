"""The disk of one simulated machine, life by life: a volume that loses its power, is full, is copied and put back.

Database and files lie on one `Volume`, so a cut takes both at once. A life ends by a cut at any write or sync, by a kill
(what was written stays), or in order; the next one finds what was left in a directory of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from skerry.kit.sqlite_connections import ROOM
from skerry.testing.apsw_driver import ApswDriver
from skerry.testing.power_cut import Volume
from skerry.testing.power_cut_disk import PowerCutDisk
from skerry.testing.power_cut_vfs import PowerCutVfs, _VolumeFile

_SQLITE_FULL = 13
_INDEXES = shutil.ignore_patterns("*-shm")
"""SQLite's shared memory is nothing that a copy or a restart would find."""


class SimVolume(Volume):
    """`told` is called when the power fails. While it is `full`, nothing can be added."""

    full = False
    told: Callable[[], None] | None = None

    def _step(self, label: str) -> None:
        had_power = self.cut is None
        super()._step(label)
        if had_power and self.cut is not None and self.told is not None:
            self.told()


class SimDisk(PowerCutDisk):
    """As `PowerCutDisk`, with a database that holds no room for itself: the simulation has many of them in memory."""

    def __init__(self, volume: SimVolume) -> None:
        super().__init__(volume)
        self._sim = volume

    def free_bytes(self, path: Path) -> int:
        if self._sim.full:
            return 0
        return ROOM if path == self._sim.root else super().free_bytes(path)

    def _write(self, fd: int, data: memoryview) -> int:
        if self._sim.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super()._write(fd, data)


class _File(_VolumeFile):
    _sim: SimVolume

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._sim.full:
            error = apsw.FullError("the disk is full")
            error.result = error.extendedresult = _SQLITE_FULL
            raise error
        super().xWrite(data, offset)


class SimVfs(PowerCutVfs):
    """SQLite's files on a `SimVolume`."""

    def __init__(self, name: str, volume: SimVolume) -> None:
        super().__init__(name, volume)
        self._sim = volume

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        given = name.filename() if isinstance(name, apsw.URIFilename) else name
        if given is None:
            return apsw.VFSFile("", name, flags)
        file = _File(self._sim, Path(given), name, flags)
        file._sim = self._sim
        return file


class Storage:
    """The directories of one machine below `home`; `now` is what its present life works in."""

    def __init__(self, home: Path, template: Path, chance: random.Random) -> None:
        self._home = home
        self._chance = chance
        self._number = 0
        home.mkdir(parents=True)
        self.now = home / "0"
        shutil.copytree(template, self.now)
        self.volume = SimVolume(self.now, chance)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[ApswDriver]:
        """SQLite's driver for the volume of one life."""
        self.volume = SimVolume(self.now, self._chance)
        vfs = SimVfs(f"{self._home.name}-{id(self)}-{self._number}", self.volume)
        try:
            yield ApswDriver(f"{self._home.name}-{id(self)}-{self._number}")
        finally:
            vfs.unregister()

    def copy(self, name: str) -> Path:
        """What a kill at this moment would leave, kept under this name."""
        target = self._home / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.now, target, ignore=_INDEXES)
        return target

    def put_back(self, source: Path | None) -> None:
        """The next life begins with this copy; None: with what the power cut has left. While nothing is open."""
        before = self.now
        self._number += 1
        self.now = self._home / str(self._number)
        if source is not None:
            shutil.copytree(source, self.now)
        else:
            assert self.volume.cut is not None
            self.volume.cut.restore(self.now)
        shutil.rmtree(before)
