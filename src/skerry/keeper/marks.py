"""The mark by which every process of an instance is known, wherever it has gone: its hard limit for file locks.

Linux has not counted locks against RLIMIT_LOCKS since 2.4.25, so the number limits nothing. But fork and exec
pass it on whatever a process does about its session, parent, environment or title, and only a privileged one
can raise it again. Shared with the agent's side, which looks for marks while no keeper lives.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable

from skerry.keeper.procfs import read_stat

RLIMIT_LOCKS = 10
_NAME_IN_PROC = b"Max file locks"
_LARGEST_PRIME_BELOW_2_TO_61 = 2**61 - 1


def mark_of(instance: str) -> int:
    """The mark of an instance; another one for every other name, as good as surely."""
    return int.from_bytes(instance.encode(), "big") % _LARGEST_PRIME_BELOW_2_TO_61


def put_mark(mark: int) -> None:
    """Marks this process and all that it will start."""
    try:
        resource.setrlimit(RLIMIT_LOCKS, (mark, mark))
    except ValueError:
        # An unprivileged node that is itself marked, as a workload of another one, cannot raise the number.
        # Its workloads are then known by their process group only.
        return


def marked(mark: int, pids: Iterable[int]) -> list[int]:
    """Those of the processes that carry the mark and live."""
    return [pid for pid in pids if _read_mark(pid) == mark and _lives(pid)]


def parse_limits(table: bytes) -> int | None:
    """The hard limit in the text of /proc/PID/limits; None for «unlimited»."""
    for line in table.splitlines():
        if line.startswith(_NAME_IN_PROC):
            hard = line[len(_NAME_IN_PROC) :].split()[1]
            return int(hard) if hard.isdigit() else None
    return None


def _lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.lives


def _read_mark(pid: int) -> int | None:
    try:
        return resource.prlimit(pid, RLIMIT_LOCKS)[1]
    except ProcessLookupError:
        return None
    except PermissionError:
        # Somebody else's process. A container's root may end it all the same, and may read this file.
        return _read_mark_in_proc(pid)


def _read_mark_in_proc(pid: int) -> int | None:
    try:
        fd = os.open(f"/proc/{pid}/limits", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        return parse_limits(os.read(fd, 4096))
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
