"""Processes as /proc shows them. Shared with the agent's side (`node.workloads.runtimes.identity`).

A pid alone names nobody for long: it counts only together with the start time, in clock ticks since boot.
"""

from __future__ import annotations

import os
import signal


class Stat:
    """The fields of /proc/PID/stat that tell one process from another."""

    __slots__ = ("group", "parent", "session", "start", "state")

    def __init__(self, state: str, parent: int, group: int, session: int, start: int) -> None:
        self.state = state
        self.parent = parent
        self.group = group
        self.session = session
        self.start = start

    @property
    def lives(self) -> bool:
        """Neither a zombie nor being removed."""
        return self.state not in {"Z", "X"}


def parse_stat(line: bytes) -> Stat:
    """Reads a line of /proc/PID/stat. The second field is the program's name and may hold «) » and spaces."""
    fields = line[line.rindex(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def read_stat(pid: int) -> Stat | None:
    """The process that has this pid now, or None."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return parse_stat(os.read(fd, 1024))
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)


def all_pids() -> list[int]:
    """Every process that /proc shows."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def own_children() -> list[int]:
    """The children of this process, which must have one thread; zombies are among them."""
    own = os.getpid()
    try:
        fd = os.open(f"/proc/self/task/{own}/children", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN.
        return [pid for pid in all_pids() if (stat := read_stat(pid)) and stat.parent == own]
    try:
        return [int(word) for word in _read_all(fd).split()]
    finally:
        os.close(fd)


def _read_all(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 4096):
        parts.append(part)
    return b"".join(parts)


def read_whole(path: str) -> bytes:
    """A file of /proc or of a group; empty when what it tells of is not there, or goes away meanwhile."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return _read_all(fd)
    except OSError:
        return b""
    finally:
        os.close(fd)


def open_process(pid: int, start: int) -> int | None:
    """A pidfd of exactly the process with this pid and start time, or None when it has ended.

    Raises OSError when the system cannot give a descriptor, which says nothing about the process.
    """
    if not _is(pid, start):
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Looked at again after opening: now the pidfd cannot belong to a successor.
    if _is(pid, start):
        return pidfd
    os.close(pidfd)
    return None


def _is(pid: int, start: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.start == start and stat.lives


def send(pid: int, number: int) -> None:
    """Sends a signal to a process, if it has not ended meanwhile and may be signalled."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def end_group(leader: int, start: int) -> None:
    """SIGKILLs what is left of the group of an ended leader, unless its pid belongs to somebody else by now."""
    if leader <= 1:
        return  # nobody's: to killpg, 0 means our own group
    stat = read_stat(leader)
    if stat is not None and stat.start != start:
        return
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
