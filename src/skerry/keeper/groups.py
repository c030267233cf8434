"""The control groups of an instance: joined before exec, asked who is in there, removed when nothing of it lives.

A group is a directory of a cgroup file system, version 1 or 2; an instance has one in each hierarchy that limits
it. The agent makes them and writes their limits (`node.workloads.runtimes.cgroups`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from skerry.keeper.procfs import read_stat, read_whole

_ANY_VERSION = ("memory.events", "memory.oom_control")
"""Where the kernel counts those whom it has killed for want of memory, in version 2 and 1."""


def join(group: str) -> None:
    """Moves this process, which must have one thread, into a group. Raises OSError."""
    try:
        # Version 1, and the thread alone: to move a process, the kernel stops all of the machine's forks and exits.
        _write(f"{group}/tasks", b"0")
    except FileNotFoundError:
        _write(f"{group}/cgroup.procs", b"0")


def members(groups: Iterable[str]) -> list[int]:
    """Every living process in the groups and in what it has made below them."""
    found = {pid for group in groups for each in _below(group) for pid in _pids(each)}
    return [pid for pid in sorted(found) if (stat := read_stat(pid)) is not None and stat.lives]


def out_of_memory(groups: Iterable[str]) -> int:
    """How many processes of the groups have been killed because the memory limit was reached."""
    return sum(_count(f"{group}/{name}") for group in groups for name in _ANY_VERSION)


def remove(groups: Iterable[str]) -> bool:
    """Removes empty groups; False if one of them is not empty yet."""
    try:
        for group in groups:
            for each in sorted(_below(group), key=len, reverse=True):
                os.rmdir(each)
    except FileNotFoundError:
        return remove(groups)
    except OSError:
        return False
    return True


def _below(group: str) -> Iterator[str]:
    """A group and all groups in it; nothing when it is gone."""
    try:
        with os.scandir(group) as entries:
            inner = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    yield group
    for each in inner:
        yield from _below(each)


def _pids(group: str) -> list[int]:
    return [int(word) for word in read_whole(f"{group}/cgroup.procs").split()]


def _count(path: str) -> int:
    for line in read_whole(path).splitlines():
        name, _, number = line.partition(b" ")
        if name == b"oom_kill":
            return int(number)
    return 0


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
