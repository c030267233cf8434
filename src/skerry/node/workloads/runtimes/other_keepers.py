"""Keepers that this agent has no connection to, found by /proc: whose they are, and whether they can be reached.

A keeper's working directory is its data directory; the system follows renames of it and says when it is gone.
"""

from __future__ import annotations

from pathlib import Path

from skerry.keeper.procfs import all_pids, read_stat
from skerry.node.workloads.runtimes.identity import command_line

_MAIN_IN_ANY_RELEASE = b"/skerry/keeper/__main__.py"
_DELETED = " (deleted)"


def keeper_socket(pid: int) -> bytes | None:
    """The socket that the process was started for; None if it is no keeper, of whichever release.

    A keeper's child has its command line until exec.
    """
    arguments = command_line(pid)
    if len(arguments) > 4 and arguments[3].endswith(_MAIN_IN_ANY_RELEASE):
        return arguments[4]
    return None


def keeper_of_directory(directory: Path) -> int | None:
    """The keeper of a data directory, whether or not its socket is still there."""
    found = (
        pid
        for pid in all_pids()
        if keeper_socket(pid) and _has_loop(pid) and _serves(pid, directory)
    )
    return next(found, None)


def parent_keeper(pid: int) -> int | None:
    """The keeper that started a process, if it still lives."""
    stat = read_stat(pid)
    return stat.parent if stat is not None and keeper_socket(stat.parent) else None


def is_homeless(keeper: int) -> bool:
    """Whether the data directory of a keeper is gone, so that no agent can ask for it any more."""
    link = _working_directory(keeper)
    return link is None or link.endswith(_DELETED)


def _serves(keeper: int, directory: Path) -> bool:
    """Also if its directory was removed and `directory` is a new one in that place."""
    link = _working_directory(keeper)
    if link is None or not directory.exists():
        return False
    return link == f"{directory.resolve()}{_DELETED}" or _is(directory, f"/proc/{keeper}/cwd")


def _is(directory: Path, other: str) -> bool:
    try:
        return directory.samefile(other)
    except FileNotFoundError:
        return False


def _has_loop(pid: int) -> bool:
    """Children before exec have closed theirs, while they may have sockets that they are given."""
    descriptors = Path(f"/proc/{pid}/fd")
    try:
        return any(
            str(each.readlink()) == "anon_inode:[eventpoll]" for each in descriptors.iterdir()
        )
    except OSError:
        return False


def _working_directory(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return None
