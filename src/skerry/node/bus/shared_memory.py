"""Zenoh's shared memory that publishers have left behind: killed ones do not remove their files, and memory fills."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

MEMORY = Path("/dev/shm")  # noqa: S108 - Zenoh's place
PROCESSES = Path("/proc")
_YOUNG = 30.0
"""Seconds in which a publisher may not have locked what it has made."""

_DEEPEST = 32
_MOST_BROUGHT = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger(__name__)


def sweep(now: float, memory: Path = MEMORY) -> list[str]:
    """Removes those that nobody uses; returns their names. `now` is in seconds since 1970.

    Whoever uses one, in a container or not, holds a lock on its file, which ends with the process.
    """
    return [path.name for path in sorted(memory.glob("*.zenoh")) if _remove(path, now)]


def clear(now: float, memory: Path, processes: Path = PROCESSES) -> list[str]:
    """Removes all that no process of the device has open or mapped from memory of the node's own; returns the names.

    Its writers give files any name and any time: one of the future is no younger. Nothing goes if it cannot be told who
    uses what. What is there is noted before it is asked who uses it: what comes meanwhile is somebody's.
    """
    old = {left.inode for left in _left_in(memory, now)}
    if not old:
        return []
    try:
        unused = old - _in_use(processes, memory.stat().st_dev)
    except PermissionError as error:
        log.warning("cannot tell who uses what in %s: %s", memory, error)
        return []
    gone: list[str] = []
    for left in _left_in(memory, now):
        with contextlib.suppress(OSError):  # it is gone already, or has something in it
            if left.is_directory:
                os.rmdir(left.name, dir_fd=left.at)
            elif left.inode in unused:
                os.unlink(left.name, dir_fd=left.at)
                gone.append(left.name)
    return sorted(gone)


class _Left(NamedTuple):
    """Something old, in the open directory `at`."""

    at: int
    name: str
    inode: int
    is_directory: bool


def _left_in(memory: Path, now: float) -> Iterator[_Left]:
    """All that is old below `memory`, a directory after what is in it. No link is followed."""
    top = os.open(memory, _DIRECTORY)
    brought: list[str] = []
    try:
        yield from _below(top, os.listdir(top), now, (top, brought), 1)  # noqa: PTH208 - a descriptor
        for name in brought:  # which grows meanwhile
            yield from _below(top, [name], now, (top, brought), 1)
    finally:
        os.close(top)


def _below(
    at: int, names: Sequence[str], now: float, top: tuple[int, list[str]], depth: int
) -> Iterator[_Left]:
    """A directory deeper than anybody has a use for is brought up to the `top` for later: each step down takes a descriptor."""
    device = os.fstat(top[0]).st_dev
    for name in names:
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if found.st_dev != device:
                continue
            is_directory = stat.S_ISDIR(found.st_mode)
            if is_directory and depth == _DEEPEST:
                _bring_up(name, at, top, found.st_ino)
                continue
            inside = os.open(name, _DIRECTORY, dir_fd=at) if is_directory else None
        except OSError:  # it is gone already
            continue
        if inside is not None:
            try:
                yield from _below(inside, os.listdir(inside), now, top, depth + 1)  # noqa: PTH208 - a descriptor
            finally:
                os.close(inside)
        if abs(now - found.st_mtime) > _YOUNG:
            yield _Left(at, name, found.st_ino, is_directory)


def _bring_up(name: str, at: int, top: tuple[int, list[str]], inode: int) -> None:
    directory, brought = top
    if len(brought) < _MOST_BROUGHT:  # who makes them meanwhile makes no end of it
        os.rename(name, f"deep-{inode}", src_dir_fd=at, dst_dir_fd=directory)
        brought.append(f"deep-{inode}")


def _in_use(processes: Path, device: int) -> set[int]:
    """The files of a file system, by inode, that processes have open or mapped. Raises PermissionError."""
    found: set[int] = set()
    for process in processes.iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                found.update(_mapped(process / "maps", device))
                found.update(_opened(process / "fd", device))
    return found


def _mapped(maps: Path, device: int) -> Iterator[int]:
    number = f"{os.major(device):02x}:{os.minor(device):02x}"
    for line in maps.read_bytes().splitlines():
        _, _, _, at, inode, *_ = line.split()
        if at.decode() == number:
            yield int(inode)


def _opened(directory: Path, device: int) -> Iterator[int]:
    for link in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed
            found = link.stat()
            if found.st_dev == device:
                yield found.st_ino


def _remove(path: Path, now: float) -> bool:
    """Not what may not be opened: it is another user's."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if now - os.fstat(file).st_mtime <= _YOUNG:
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("cannot remove %s, which nobody uses: %s", path, error.strerror)
        return False
    finally:
        os.close(file)
    return True
