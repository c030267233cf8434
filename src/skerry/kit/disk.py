"""File operations with a label each, so that a test can fail, count or kill at exactly one of them.

Labels have the form «what.step», for example `segment.sync`. `Disk.point` marks an instruction
without I/O of its own (before a reply, after a commit) as a place where a crash is tested.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """Labelled file operations; `skerry.testing.FaultyDisk` is the other implementation."""

    def open_append(self, label: str, path: Path) -> int:
        """Opens `path` for appending, creating it with mode 0600; returns the descriptor."""
        ...

    def append(self, label: str, fd: int, data: bytes) -> None:
        """Writes all of `data` at the end of the file."""
        ...

    def sync(self, label: str, fd: int) -> None:
        """Returns when the file's data is durable (fdatasync)."""
        ...

    def truncate(self, label: str, path: Path, size: int) -> None:
        """Cuts `path` to `size` bytes, durably."""
        ...

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:
        """Replaces `path` by `data`: after a crash there is the old content or the new, never a mixture.

        Whoever else may write in the directory cannot make it write anywhere else.
        """
        ...

    def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:
        """Makes `text` the content of the file that is there, durably; it stays the same file.

        Who has it open never finds the tail of a former, longer text: until that is cut off, empty lines stand there. Who
        reads in the very moment of writing may find a mixture, and a crash may leave one. A symbolic link is not followed. Raises OSError for a file that has more than `most` bytes.
        """
        ...

    def rename(self, label: str, path: Path, target: Path) -> None:
        """Gives `path` the name `target`, durably, replacing what had it."""
        ...

    def make_directory(self, label: str, path: Path, mode: int = 0o700) -> None:
        """Makes `path` and what is missing above it (with the usual mode), durably; one that is there is fine."""
        ...

    def swap(self, label: str, path: Path, target: Path) -> None:
        """As `rename`, but only `sync_directory` makes it durable: until then a crash may bring the old file back."""
        ...

    def unlink(self, label: str, path: Path) -> None:
        """Removes `path`; a missing file is fine. It may be back after a power cut, and one that went later may not."""
        ...

    def sync_directory(self, label: str, path: Path) -> None:
        """Returns when the names in the directory are durable, those that are gone, too."""
        ...

    def point(self, label: str) -> None:
        """Does nothing; a test may stop or fail here."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Bytes that an unprivileged process may still write to the file system of `path`."""
        ...

    def total_bytes(self, path: Path) -> int:
        """The size of the file system of `path`."""
        ...


class RealDisk:
    """The operating system's files. `skerry.testing.PowerCutDisk` keeps book of the calls below `free_bytes`."""

    def open_append(self, label: str, path: Path) -> int:  # noqa: ARG002 - labels matter only to tests
        return self._open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, label: str, fd: int, data: bytes) -> None:  # noqa: ARG002
        self._write_all(fd, data)

    def sync(self, label: str, fd: int) -> None:  # noqa: ARG002
        self._sync(fd)

    def truncate(self, label: str, path: Path, size: int) -> None:  # noqa: ARG002
        fd = self._open(path, os.O_WRONLY)
        try:
            self._truncate(fd, size)
            self._sync(fd)
        finally:
            os.close(fd)

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:  # noqa: ARG002
        temporary = path.with_name(path.name + ".new")
        fd = self._open_new(temporary, mode)
        try:
            os.fchmod(fd, mode)
            self._write_all(fd, data)
            self._sync(fd)
        except OSError:
            self._unlink(temporary)  # a part of it would only take room on a full disk
            raise
        finally:
            os.close(fd)
        self._rename(temporary, path)
        self._sync_directory(path.parent)

    def rewrite(self, label: str, path: Path, text: bytes, most: int) -> None:  # noqa: ARG002
        fd = self._open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            size = os.fstat(fd).st_size
            if size > most:  # it may be all holes, and take no room before it is written
                raise OSError(errno.EFBIG, f"it has {size} bytes, more than {most}", str(path))
            self._write_all(fd, text.ljust(size, b"\n"))
            self._truncate(fd, len(text))
            self._sync(fd)
        finally:
            os.close(fd)

    def rename(self, label: str, path: Path, target: Path) -> None:  # noqa: ARG002
        self._rename(path, target)
        self._sync_directory(target.parent)
        if path.parent != target.parent:
            self._sync_directory(path.parent)

    def make_directory(self, label: str, path: Path, mode: int = 0o700) -> None:
        if path.is_dir():
            return
        self.make_directory(label, path.parent, 0o777)
        if self._make_directory(path, mode):
            self._sync_directory(path.parent)

    def swap(self, label: str, path: Path, target: Path) -> None:  # noqa: ARG002
        self._rename(path, target)

    def unlink(self, label: str, path: Path) -> None:  # noqa: ARG002
        self._unlink(path)

    def sync_directory(self, label: str, path: Path) -> None:  # noqa: ARG002
        self._sync_directory(path)

    def point(self, label: str) -> None:
        pass

    def free_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).free

    def total_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).total

    def _write_all(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:  # a nearly full disk takes a part and fails at the next write
            view = view[self._write(fd, view) :]

    def _open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def _write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def _open_new(self, path: Path, mode: int) -> int:
        """A file that was not there: what a crash has left, or a link that somebody has put there, makes way."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            return self._open(path, flags, mode)
        except FileExistsError:
            self._unlink(path)
            return self._open(path, flags, mode)

    def _truncate(self, fd: int, size: int) -> None:
        os.truncate(fd, size)

    def _sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def _rename(self, path: Path, target: Path) -> None:
        path.replace(target)

    def _unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def _make_directory(self, path: Path, mode: int) -> bool:
        """False: somebody else has just made it."""
        try:
            path.mkdir(mode)
        except FileExistsError:
            return False
        return True

    def _sync_directory(self, path: Path) -> None:
        sync_directory(path)


class DiskOf(RealDisk):
    """What root writes atomically with it belongs to the `owner` (user and group) before it has its name."""

    def __init__(self, owner: tuple[int, int]) -> None:
        self._owner = owner

    def _open_new(self, path: Path, mode: int) -> int:
        fd = super()._open_new(path, mode)
        os.fchown(fd, *self._owner)
        return fd


def sync_directory(path: Path) -> None:
    """Makes the creation, renaming or removal of a file in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
