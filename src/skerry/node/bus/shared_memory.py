"""Zenoh's shared memory that publishers have left behind: killed ones do not remove their files, and memory fills."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Zenoh's place
PROCESSES = Path("/proc")
_YOUNG = 30.0
"""Seconds in which a publisher may not have locked what it has made."""

log = logging.getLogger(__name__)


def sweep(now: float, memory: Path = MEMORY) -> list[str]:
    """Removes those that nobody uses; returns their names. `now` is in seconds since 1970.

    Whoever uses one, in a container or not, holds a lock on its file, which ends with the process.
    """
    return [path.name for path in sorted(memory.glob("*.zenoh")) if _remove(path, now)]


def clear(now: float, memory: Path, processes: Path = PROCESSES) -> list[str]:
    """Removes all that no process of the device has open or mapped from memory of the node's own; returns the names.

    Its writers give files any name and any time: one of the future is no younger. Nothing goes if it cannot be told who
    uses what.
    """
    device = memory.stat().st_dev
    gone: list[str] = []
    used: set[int] | None = None
    for place, directories, files, fd in os.fwalk(memory, topdown=False, follow_symlinks=False):
        for name in (*files, *directories):
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if abs(now - found.st_mtime) <= _YOUNG or found.st_dev != device:
                    continue
                if stat.S_ISDIR(found.st_mode):
                    os.rmdir(name, dir_fd=fd)
                    continue
                used = _in_use(processes, device) if used is None else used
                if found.st_ino not in used:
                    os.unlink(name, dir_fd=fd)
                    gone.append(str(Path(place, name).relative_to(memory)))
            except PermissionError as error:
                log.warning("cannot tell who uses what in %s: %s", memory, error)
                return gone
            except OSError:  # it is gone already, or has something in it
                continue
    return sorted(gone)


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
