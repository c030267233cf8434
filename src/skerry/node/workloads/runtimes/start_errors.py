"""What the keeper's refusal to start means for people, and whether trying again makes sense."""

from __future__ import annotations

import errno

from skerry.keeper.protocol import ProtocolError
from skerry.kit.errors import Refused, SkerryError, Transient
from skerry.node.ports import ProcessLaunch
from skerry.node.workloads.runtimes.keeper_client import KeeperRefusal

_PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EROFS,
        errno.ETXTBSY,
    }
)
"""The system is short of something or busy; the launch itself may be right."""


def start_error(launch: ProcessLaunch, error: KeeperRefusal | ProtocolError) -> SkerryError:
    """Transient when the same launch may succeed later, else Refused."""
    start = f"cannot start workload «{launch.workload}»: "
    if isinstance(error, ProtocolError):
        return Refused(f"{start}its command and environment cannot be passed on: {error}")
    text = start + _cause(launch, error)
    return Transient(text) if error.errno in _PASSING else Refused(text)


def _cause(launch: ProcessLaunch, error: KeeperRefusal) -> str:
    command = launch.command[0] if launch.command else ""
    if error.step.startswith("RLIMIT_"):
        return f"{error.step} = {launch.limits.get(error.step, 0)}: {error}. The node may not give more than its own limits."
    if error.step == "directory":
        return f"working directory «{launch.directory}»: {error}. Make it on the node, or correct process.directory."
    if error.step == "exec":
        return f"command «{command}»{_exec_cause(command, error)}"
    return str(error)


def _exec_cause(command: str, error: KeeperRefusal) -> str:
    """Why a program could not be executed, and the way out; follows its name."""
    match error.errno:
        case errno.ENOENT if "/" in command:
            return " does not exist, or its interpreter does not. Correct process.command, or install it on the node."
        case errno.ENOENT:
            return " not found. Give its full path, or a PATH in its environment."
        case errno.EACCES:
            return f": {error}. Is it a program, and executable (chmod +x)?"
        case errno.ENOEXEC:
            return f": {error}. It is no program for this machine, or a script without «#!» in its first line."
        case _:
            return f": {error}"
