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


_CONFINING = {
    "namespaces": "the kernel gives no namespaces",
    "links": "a path that the spec grants leads to the node's own data",
    "files": "its own view of the files cannot be made",
    "loopback": "its own network cannot be made",
    "user": "its user cannot be taken on",
    "landlock": "Landlock refuses its rules",
    "seccomp": "the kernel takes no seccomp filter",
}
"""The steps of `keeper.confinement`, for people."""


def _is_group(step: str) -> bool:
    """A group may have been swept away between its making and the start."""
    return step.startswith("/")


def start_error(launch: ProcessLaunch, error: KeeperRefusal | ProtocolError) -> SkerryError:
    """Transient when the same launch may succeed later, else Refused."""
    start = f"cannot start workload «{launch.workload}»: "
    if isinstance(error, ProtocolError):
        return Refused(f"{start}its command and environment cannot be passed on: {error}")
    text = start + _cause(launch, error)
    passing = error.errno in _PASSING or _is_group(error.step)
    return Transient(text) if passing else Refused(text)


def _cause(launch: ProcessLaunch, error: KeeperRefusal) -> str:
    command = launch.command[0] if launch.command else ""
    if error.step.startswith("RLIMIT_"):
        return f"{error.step} = {launch.limits.get(error.step, 0)}: {error}. The node may not give more than its own limits."
    if _is_group(error.step):
        return f"control group {error.step} cannot be joined: {error}"
    if error.step in _CONFINING:
        return f"isolation «strict» cannot be had: {_CONFINING[error.step]}: {error}"
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
