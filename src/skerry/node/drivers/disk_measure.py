"""Measures what drivers and workers hold on a disk, and keeps a data bus of files within its bound. In a thread."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from skerry.node.drivers.disk_use import Space

PROCESSES = Path("/proc")
_BLOCK = 512
_IN_MEMORY = frozenset({"tmpfs", "devtmpfs", "ramfs", "hugetlbfs", "proc", "sysfs", "mqueue"})


def space_of(place: Path) -> tuple[int, Space]:
    """The file system that holds a place, by its device number. One without room for more files has none. Raises OSError."""
    found = os.statvfs(place)
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    each = size // found.f_files if found.f_files else 0
    free = min(free, found.f_favail * each) if each else free
    return place.stat().st_dev, Space(size, free, each)


def held_in(place: Path, spaces: Mapping[int, Space]) -> int:
    """What a file, or a directory with all below it, has of these file systems; what vanishes meanwhile has nothing.

    Directories too deep to look into count as all there is: nobody needs such, but who hides what it writes.
    """
    seen: set[tuple[int, int]] = set()
    sizes, counts = 0, 0
    for _, found in _below(str(place)):
        if found is None:
            return max((space.size for space in spaces.values()), default=0)
        space = spaces.get(found.st_dev)
        known = found.st_nlink > 1 and (found.st_dev, found.st_ino) in seen
        if space is None or known:
            continue
        if found.st_nlink > 1:
            seen.add((found.st_dev, found.st_ino))
        sizes += found.st_blocks * _BLOCK
        counts += space.each
    return max(sizes, counts)


def unnamed(pid: int, processes: Path = PROCESSES) -> int:
    """Bytes of removed files on disks that the programs of a container, of which `pid` is one, hold open: no directory has them."""
    try:
        room = (processes / str(pid) / "ns/pid").readlink()
        if room == (processes / "self/ns/pid").readlink():
            return 0  # it shares the device's, and nobody can tell which are its own
    except OSError:
        return 0
    found: dict[tuple[int, int], int] = {}
    for process in processes.iterdir():
        if process.name.isdecimal() and _is_in(process, room):
            for one in _opened_on_disk(process):
                found[one.st_dev, one.st_ino] = one.st_blocks * _BLOCK
    return sum(found.values())


def trim(place: Path, space: Space, bound: int) -> int:
    """Removes the oldest files below a place that hold more than `bound` of its file system; returns what that frees.

    By the time of the last change of any kind, which no program can set.
    """
    files = [
        (found.st_ctime_ns, max(found.st_blocks * _BLOCK, space.each), path)
        for path, found in _below(str(place))
        if found is not None and not stat.S_ISDIR(found.st_mode)
    ]
    above = sum(size for _, size, _ in files) - bound
    freed = 0
    for _, size, path in sorted(files):
        if freed >= above:
            break
        if _removed(place, Path(path)):
            freed += size
    return freed


def _removed(top: Path, path: Path) -> bool:
    """Passes no link, whatever its programs put there meanwhile."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(top, flags)
    try:
        for part in path.parent.relative_to(top).parts:
            below = os.open(part, flags, dir_fd=opened)
            os.close(opened)
            opened = below
        os.unlink(path.name, dir_fd=opened)
    except OSError:
        return False
    finally:
        os.close(opened)
    return True


def _below(top: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """A place and all below it, each with its status; None: of what is too deep to look into."""
    try:
        found = os.lstat(top)
    except OSError:
        return
    yield top, found
    left = [top] if stat.S_ISDIR(found.st_mode) else []
    while left:
        for path, status in _directly_in(left.pop()):
            yield path, status
            if status is not None and stat.S_ISDIR(status.st_mode):
                left.append(path)


def _directly_in(directory: str) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    yield entry.path, entry.stat(follow_symlinks=False)
                except OSError as error:
                    if error.errno == errno.ENAMETOOLONG:
                        yield entry.path, None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            yield directory, None


def _is_in(process: Path, room: Path) -> bool:
    try:
        return (process / "ns/pid").readlink() == room
    except OSError:
        return False


def _opened_on_disk(process: Path) -> Iterator[os.stat_result]:
    try:
        lines = (process / "mountinfo").read_text().splitlines()
        links = list((process / "fd").iterdir())
    except OSError:
        return
    disks = {
        _device(line) for line in lines if line.partition(" - ")[2].split()[0] not in _IN_MEMORY
    }
    for link in links:
        try:
            found = link.stat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_dev in disks:
            yield found


def _device(line: str) -> int:
    major, _, minor = line.split()[2].partition(":")
    return os.makedev(int(major), int(minor))
