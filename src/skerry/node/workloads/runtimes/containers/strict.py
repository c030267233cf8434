"""`isolation: strict` of containers: what is added to a creation, what is refused, and what is then in force. Pure.

System calls are `seccomp`'s. User namespaces that containers start in are the engine's own setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.private import meets

NOBODY = "65534:65534"
PIDS = 256
"""Processes and threads where the spec names no limit: room for a program, not for a fork bomb."""

TMP = {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=64m"}  # noqa: S108 - inside the container, private to it
"""Programs run from it, as from that of a strict process: left alone, Docker says no and Podman yes."""

_UID = re.compile(r"([1-9][0-9]{0,9})(?::([0-9]{1,10}))?")


def user_of(wanted: str | None, image_user: str) -> str:
    """Who it runs as: the spec's user, else the image's where that is a number and not root, else nobody.

    Always with a group: to a number alone engines give root's. In place of that one, and of none, is the user's number.
    """
    found = _UID.fullmatch(image_user if wanted is None else wanted)
    if found is None:
        return NOBODY
    user, group = found.groups()
    return f"{user}:{group if int(group or 0) else user}"


def in_force(launch: ContainerLaunch) -> tuple[str, ...]:
    """What keeps this container from the device, in words for its status; what its spec or its contract opens is left out."""
    spec, host = launch.spec, launch.extras.host
    if spec.privileged or host.get("Privileged"):
        return ()
    words = ["container"]
    if not any("seccomp" in option for option in host.get("SecurityOpt", ())):
        words.append("seccomp")
    if host.get("ReadonlyRootfs", spec.read_only) or launch.strict:
        words.append("read-only root")
    if launch.strict:
        words += ["not root", "no capabilities", "no new privileges"]
    network = host.get("NetworkMode", spec.network)
    if network == "none" or (launch.strict and network is None):
        words.append("no network")
    if host.get("PidsLimit", launch.resources.pids) is not None or launch.strict:
        words.append("limited processes")
    return tuple(words)


def described(launch: ContainerLaunch) -> str:
    """For a status: «strict: container, seccomp, …»."""
    kind = "strict" if launch.strict else "standard"
    return f"{kind}: {', '.join(in_force(launch)) or 'privileged container'}"


def exposed(volumes: Iterable[str], private: Sequence[Path]) -> str | None:
    """The first volume that would show something of what is private, or lies in it."""
    for volume in volumes:
        source = volume.partition(":")[0]
        if source.startswith("/") and any(meets(Path(source), secret) for secret in private):
            return source
    return None
