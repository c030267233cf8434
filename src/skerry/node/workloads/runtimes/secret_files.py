"""Files of secrets for workloads: in memory (tmpfs), a directory for each instance, gone with it or at the next boot.

What is above them nobody but the node's own user enters; a container and a strict workload are given their directory
alone, read-only.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from skerry.kit.errors import Refused, Transient
from skerry.node.ports import ContainerLaunch, Launch

MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own in it, whose owner and mode are looked at
IN_MEMORY = {"tmpfs", "ramfs"}

log = logging.getLogger(__name__)


class SecretFiles:
    """The files of one node, below `root`, which need not be there. `known` are instances that the store believes in."""

    def __init__(
        self,
        root: Path,
        known: Callable[[], Collection[str]],
        mounts: Path = Path("/proc/self/mounts"),
    ) -> None:
        self.root = root
        self._known = known
        self._mounts = mounts

    def directory(self, workload: str, instance: str) -> Path:
        """That of an instance, on the node."""
        return self.root / workload / instance

    def deliver(self, launch: Launch) -> None:
        """Writes the files of a launch; repeating it is harmless. Raises Refused where memory cannot be had, Transient."""
        if not launch.secret_files:
            return
        shared = isinstance(launch, ContainerLaunch)
        directory = self.directory(launch.workload, launch.instance)
        try:
            self._make_root(launch.workload)
            directory.parent.mkdir(mode=0o700, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            directory.chmod(0o755 if shared else 0o700)
            _write(directory, launch.secret_files)
        except OSError as error:
            raise Transient(
                f"cannot write the secrets of workload «{launch.workload}» to {directory}: {error.strerror}"
            ) from error

    def replace(self, workload: str, files: Mapping[str, bytes]) -> None:
        """New content for files that instances of the workload have already. Raises OSError."""
        for directory in self._instances(workload):
            here = {name: data for name, data in files.items() if (directory / name).exists()}
            _write(directory, here)

    def remove(self, instance: str) -> None:
        """The instance has ended."""
        for directory in self._instances():
            if directory.name == instance:
                shutil.rmtree(directory, ignore_errors=True)
                self._tidy(directory.parent)

    def keep_only(self, running: Collection[str]) -> None:
        """Removes what instances have left that neither run nor are known."""
        left = {path.name for path in self._instances()}
        known = {*running, *(self._known() if left else ())}
        for instance in left - known:
            self.remove(instance)

    def _instances(self, workload: str | None = None) -> Iterator[Path]:
        """The directories of a workload's instances, or of all; none where somebody else has made the root."""
        if not is_ours(self.root):
            if os.path.lexists(self.root):
                log.warning("%s", _foreign(self.root))
            return
        for above in [*self.root.iterdir()]:
            if workload in {None, above.name} and _is_directory(above):
                yield from (each for each in [*above.iterdir()] if _is_directory(each))

    def _make_root(self, workload: str) -> None:
        kind = file_system(self.root.parent, self._mounts.read_text())
        if kind not in IN_MEMORY:
            raise Refused(
                f"cannot start workload «{workload}»: its secrets would be written to a disk: {self.root.parent} is "
                f"{kind or 'missing'}, not tmpfs. Mount tmpfs there, or use «env»."
            )
        self.root.mkdir(mode=0o700, exist_ok=True)
        if not is_ours(self.root):
            raise Refused(f"cannot start workload «{workload}»: {_foreign(self.root)}")

    def _tidy(self, above: Path) -> None:
        for directory in (above, self.root):
            try:
                directory.rmdir()
            except OSError:  # another instance's is in it
                return


def is_ours(root: Path) -> bool:
    """Whether nobody else can have put anything into this directory: above it anybody may make one of its name."""
    try:
        found = root.lstat()
    except FileNotFoundError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and not found.st_mode & 0o077


def _foreign(root: Path) -> str:
    return f"{root} is not this node's alone: another user of this machine may have made it. Remove it: rm -r {root}"


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Each as a whole; whoever owns the directory owns them, and where others may enter it they may read."""
    found = directory.stat()
    mode = 0o444 if found.st_mode & 0o005 else 0o400
    for name, data in files.items():
        path, new = directory / name, directory / f".{name}.new"
        if path.exists() and path.read_bytes() == data:
            continue
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if found.st_uid != os.geteuid():
                os.fchown(fd, found.st_uid, found.st_gid)
            os.fchmod(fd, mode)
        new.replace(path)


def file_system(path: Path, mounts: str) -> str:
    """Its kind by the list of mounts; the last of those on the same place counts."""
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts.splitlines():
        _, place, fstype, *_ = line.split(" ")
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, fstype
    return kind if Path(real).is_dir() else ""
