"""What drivers see of the configuration directory: nothing of other twins, and no credentials of the device.

A container has it mounted, read-only; the files of its own twins and its credentials are mounted over empty ones that
stand here. A native driver is given links to them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from skerry.core.cyberwave.camera_files import cameras_shown, edge_shown
from skerry.kit.disk import Disk
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.text_file import read_unlinked

CREDENTIALS = "credentials.json"
LIBRARY = "so101_lib"
_As = Callable[[bytes, Collection[str]], bytes]

_COMMON: Mapping[str, _As] = {
    "fingerprint.json": lambda text, _twins: text,
    "environment.json": lambda text, _twins: text,
    "edge.json": edge_shown,
    "cameras.json": cameras_shown,
}
"""Files that drivers may read, and what of them."""


class Views:
    """In `root`, a directory for each workload; `source` is the configuration directory, `bus` that of a bus of files."""

    def __init__(self, root: Path, source: Path, bus: Path, disk: Disk) -> None:
        self._root = root
        self._bus = bus
        self._source = source
        self._disk = disk

    def place(self, workload: str) -> Path:
        """Where a workload's view is."""
        return self._root / workload

    def made(self, workload: str, files: Sequence[str], twins: Collection[str]) -> None:
        """Makes the view for a container that serves `twins`, with empty files in the places of `files`. Raises Transient."""
        try:
            view = self._common(workload, twins)
            for name in (*(Path(file).name for file in files), CREDENTIALS):
                if not (view / name).is_file() or (view / name).is_symlink():
                    (view / name).unlink(missing_ok=True)
                    (view / name).touch(0o644)
            self._tidy(view, {Path(file).name for file in files})
        except OSError as error:
            raise _trouble(workload, error) from error

    def linked(
        self, workload: str, files: Sequence[str], twins: Collection[str], credentials: Path
    ) -> Path:
        """Makes the view for a process that serves `twins`: links to `files` and `credentials`. Raises Transient."""
        try:
            view = self._common(workload, twins)
            for target in (*map(Path, files), credentials):
                _link(view / target.name, target)
            self._tidy(view, {Path(file).name for file in files})
        except OSError as error:
            raise _trouble(workload, error) from error
        return view

    def check(self, workload: str, files: Sequence[str]) -> None:
        """Raises InvalidInput for what stands in the place of a file and is none: what a link leads to may be anybody's."""
        for path in map(Path, files):
            mode = mode_of(path)
            if mode and not stat.S_ISREG(mode):
                what = "a link, which is not followed" if stat.S_ISLNK(mode) else "no file"
                raise InvalidInput(
                    f"cannot start driver «{workload}»: {path} is {what}. Remove it: the node writes the file anew"
                )

    def bus(self) -> Path:
        """The one directory of the data bus where that is made of files, for whatever user a program has. Raises Transient."""
        path = self._bus
        try:
            self._disk.make_directory("driver.bus", path)
            path.chmod(0o777)  # nobody else on the device passes the directory above it
        except OSError as error:
            raise Transient(f"cannot make directory {path}: {error.strerror}") from error
        return path

    def library(self, workload: str) -> Path:
        """Where drivers of SO101 arms keep calibrations, for Cyberwave's command line, too. Raises Transient, InvalidInput."""
        path, inside = self._source / LIBRARY, self.place(workload) / LIBRARY
        if path.is_symlink():
            raise InvalidInput(
                f"cannot start driver «{workload}»: {path} is a link, which is not followed"
            )
        try:
            if not path.is_dir():
                self._disk.make_directory("driver.library", path)
                owner = self._source.stat()
                if os.geteuid() != owner.st_uid:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            inside.mkdir(exist_ok=True)
        except OSError as error:
            raise _trouble(workload, error) from error
        if not stat.S_ISDIR(mode_of(path)):
            raise InvalidInput(f"cannot start driver «{workload}»: {path} is no directory")
        return path

    def _common(self, workload: str, twins: Collection[str]) -> Path:
        view = self.place(workload)
        if not view.is_dir():
            self._disk.make_directory("driver.view", view, 0o755)
        for name, shown in _COMMON.items():
            # One that cannot be read shows what it showed before, as far as that is these twins'.
            text = _shown(self._source / name, shown, twins, view / name)
            if text is None:
                (view / name).unlink(missing_ok=True)
            elif _read(view / name) != text:
                self._disk.write_atomic("driver.view-file", view / name, text, 0o644)
        return view

    def _tidy(self, view: Path, files: set[str]) -> None:
        """What is left of other twins goes; directories are a native driver's own."""
        for path in view.iterdir():
            known = path.name in files or path.name in (*_COMMON, CREDENTIALS)
            if not known and (path.is_symlink() or not path.is_dir()):
                path.unlink()


def mode_of(path: Path) -> int:
    """What is there itself, not what a link leads to, as `stat` has it; 0: nothing that can be seen."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _shown(source: Path, shown: _As, twins: Collection[str], before: Path) -> bytes | None:
    """None: nothing."""
    for path in (source, before):
        try:
            return shown(read_unlinked(path), twins)
        except FileNotFoundError:
            return None
        except (OSError, InvalidInput):
            continue
    return None


def _read(path: Path) -> bytes | None:
    try:
        return read_unlinked(path)
    except (OSError, InvalidInput):
        return None


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _trouble(workload: str, error: OSError) -> Transient:
    return Transient(
        f"cannot make the view of the configuration directory for driver «{workload}»: {error.strerror}"
    )
