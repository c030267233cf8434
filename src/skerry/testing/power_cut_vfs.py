"""SQLite on a volume that loses its power: an apsw VFS above the real one, below database, WAL and journals.

The wal-index («-shm») is not on the volume: SQLite never syncs it and makes it anew after a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw

from skerry.testing.power_cut import Volume

_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class PowerCutVfs(apsw.VFS):
    """Registered under `name` for apsw's own SQLite; of no effect on files that are not below `volume.root`."""

    def __init__(self, name: str, volume: Volume) -> None:
        self._volume = volume
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        given = name.filename() if isinstance(name, apsw.URIFilename) else name
        if given is None:
            return apsw.VFSFile("", name, flags)
        return _VolumeFile(self._volume, Path(given), name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - as apsw calls it
        super().xDelete(filename, syncdir)
        path = Path(filename)
        self._volume.unlink(path)
        if syncdir:
            self._volume.sync_directory(path.parent)


class _VolumeFile(apsw.VFSFile):
    def __init__(
        self, volume: Volume, path: Path, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._volume = volume
        self._path = path
        self._file = volume.open(path)
        self._reads = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)
        # The real one syncs the directory of a journal that it has made with the journal's first sync.
        self._unnamed = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _JOURNALS)

    def xLock(self, level: int) -> None:  # noqa: N802
        try:
            super().xLock(level)
        except apsw.IOError as error:
            if not self._reads:
                raise
            # SQLite takes it for an answer that a reader gets no such lock; of all errors apsw keeps only this to itself.
            raise apsw.BusyError("cannot lock for writing: opened for reading") from error

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._volume.write(self._file, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._volume.truncate(self._file, newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        self._volume.sync(self._file)
        if self._unnamed:
            self._volume.sync_directory(self._path.parent)
            self._unnamed = False


@contextlib.contextmanager
def power_cut_vfs(volume: Volume) -> Iterator[str]:
    """The name of a VFS for `volume`, as long as the block lasts."""
    vfs = PowerCutVfs(f"power-cut-{id(volume)}", volume)
    try:
        yield f"power-cut-{id(volume)}"
    finally:
        vfs.unregister()
