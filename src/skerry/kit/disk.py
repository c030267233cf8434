"""File operations with a label each, so that a test can fail, count or kill at exactly one of them.

Labels have the form «what.step», for example `segment.sync`. `Disk.point` marks an instruction
without I/O of its own (before a reply, after a commit) as a place where a crash is tested.
"""

from __future__ import annotations

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
        """Replaces `path` by `data`: after a crash there is the old content or the new, never a mixture."""
        ...

    def rename(self, label: str, path: Path, target: Path) -> None:
        """Gives `path` the name `target` in the same directory, durably, replacing what had it."""
        ...

    def swap(self, label: str, path: Path, target: Path) -> None:
        """As `rename`, but only `sync_directory` makes it durable: until then a crash may bring the old file back."""
        ...

    def sync_directory(self, label: str, path: Path) -> None:
        """Returns when the names in the directory are durable, those that are gone, too."""
        ...

    def unlink(self, label: str, path: Path) -> None:
        """Removes `path`; a missing file is fine."""
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
    """The operating system's files."""

    def open_append(self, label: str, path: Path) -> int:  # noqa: ARG002 - labels matter only to tests
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, label: str, fd: int, data: bytes) -> None:  # noqa: ARG002
        _write_all(fd, data)

    def sync(self, label: str, fd: int) -> None:  # noqa: ARG002
        os.fdatasync(fd)

    def truncate(self, label: str, path: Path, size: int) -> None:  # noqa: ARG002
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def write_atomic(self, label: str, path: Path, data: bytes, mode: int = 0o600) -> None:  # noqa: ARG002
        temporary = path.with_name(path.name + ".new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            os.fchmod(fd, mode)
            _write_all(fd, data)
            os.fsync(fd)
        except OSError:
            temporary.unlink()  # a part of it would only take room on a full disk
            raise
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_directory(path.parent)

    def rename(self, label: str, path: Path, target: Path) -> None:  # noqa: ARG002
        path.replace(target)
        sync_directory(path.parent)

    def swap(self, label: str, path: Path, target: Path) -> None:  # noqa: ARG002
        path.replace(target)

    def sync_directory(self, label: str, path: Path) -> None:  # noqa: ARG002
        sync_directory(path)

    def unlink(self, label: str, path: Path) -> None:  # noqa: ARG002
        path.unlink(missing_ok=True)

    def point(self, label: str) -> None:
        pass

    def free_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).free

    def total_bytes(self, path: Path) -> int:
        return shutil.disk_usage(path).total


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # a nearly full disk takes a part and fails at the next write
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Makes the creation, renaming or removal of a file in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
