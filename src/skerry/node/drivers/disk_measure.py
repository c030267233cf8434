"""Measures what drivers and workers hold on a disk, and keeps a data bus of files within its bound. In a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from skerry.node.drivers.disk_use import Space

PROCESSES = Path("/proc")
_BLOCK = 512
_MOST_BROUGHT = 5000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


def unnamed(pid: int, processes: Path = PROCESSES) -> Mapping[int, int]:
    """Bytes of removed files that the programs of a container, of which `pid` is one, have open or mapped: no directory has them.

    By the device number that they see: a container's layer has one of its own.
    """
    try:
        room = (processes / str(pid) / "ns/pid").readlink()
        if room == (processes / "self/ns/pid").readlink():
            return {}  # it shares the device's, and nobody can tell which are its own
    except OSError:
        return {}
    found: dict[tuple[int, int], int] = {}
    for process in processes.iterdir():
        if process.name.isdecimal() and _is_in(process, room):
            for one in _opened_on_disk(process):
                found[one.st_dev, one.st_ino] = one.st_blocks * _BLOCK
    sizes: Counter[int] = Counter()
    for (device, _), size in found.items():
        sizes[device] += size
    return sizes


def trim(bus: Path, space: Space, bound: int) -> int:
    """Removes what is oldest of a data bus that holds more than `bound` of its file system; returns what that frees.

    Its channels are directories with files. By the time of the last change of any kind, which no program can set; and no
    link is followed, whatever programs put there meanwhile. Directories in channels are nobody's, and dissolved.
    """
    top = os.open(bus, _DIRECTORY)
    try:
        _dissolve(top)
        found = sorted(_in_channels(top, space.each))
        above, freed = sum(one.size for one in found) - bound, 0
        for one in found:
            if freed >= above:
                break
            if _removed(top, one):
                freed += one.size
        return freed
    finally:
        os.close(top)


class _Old(NamedTuple):
    """A file in a channel; of a channel, `channel` is its directory, «.»."""

    changed: int
    size: int
    channel: str
    name: str
    is_directory: bool


def _dissolve(top: int) -> None:
    """Brings directories in channels up, one level after the other; who makes them meanwhile makes no end of it."""
    for _ in range(_MOST_BROUGHT):
        brought = False
        for channel, inside in _channels(top):
            for name, found in _entries(inside):
                if channel != "." and stat.S_ISDIR(found.st_mode):
                    with contextlib.suppress(OSError):
                        above = f"deep-{found.st_ino}"
                        os.rename(name, above, src_dir_fd=inside, dst_dir_fd=top)
                        brought = True
        if not brought:
            return


def _in_channels(top: int, each: int) -> Iterator[_Old]:
    for channel, inside in _channels(top):
        for name, found in _entries(inside):
            size = max(found.st_blocks * _BLOCK, each)
            yield _Old(found.st_ctime_ns, size, channel, name, stat.S_ISDIR(found.st_mode))


def _removed(top: int, old: _Old) -> bool:
    """Whether it was: a channel that has something in it is not."""
    remove = os.rmdir if old.is_directory else os.unlink
    try:
        with _opened(top, old.channel) as inside:
            remove(old.name, dir_fd=inside)
    except OSError:
        return False
    return True


def _channels(top: int) -> Iterator[tuple[str, int]]:
    """Each with its descriptor, which is good until the next one; the bus's own directory is the first."""
    for channel in (".", *os.listdir(top)):
        with contextlib.suppress(OSError), _opened(top, channel) as inside:  # or it is none
            yield channel, inside


@contextlib.contextmanager
def _opened(top: int, channel: str) -> Iterator[int]:
    inside = os.open(channel, _DIRECTORY, dir_fd=top)
    try:
        yield inside
    finally:
        os.close(inside)


def _entries(inside: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in os.listdir(inside):
        with contextlib.suppress(OSError):  # it is gone
            yield name, os.stat(name, dir_fd=inside, follow_symlinks=False)


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
        links = [*(process / "fd").iterdir(), *(process / "map_files").iterdir()]
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
