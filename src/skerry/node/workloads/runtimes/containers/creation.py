"""From a launch to the body of the engine's «create», and how our containers are told from others'. Pure."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from skerry.node.ports import MODELS_INSIDE, SOCKET_INSIDE, ContainerLaunch, Launch
from skerry.wire.workload import Exit

Body = dict[str, object]
"""JSON as the engine wants it."""

OWNER = "io.skerry.node"
"""Label of every container that is ours; its value is the node's own mark. Nothing without it is ever touched."""

WORKLOAD = "io.skerry.workload"
INSTANCE = "io.skerry.instance"
LOG = "io.skerry.log"
"""Where the output goes, so that an agent that has just started need not wait for its store to tell."""

_KEPT_OUTPUT = {"max-size": "10m", "max-file": "2"}
"""The engine's own copy of what a container prints: it bridges the agent's absences, ours is the log."""


def container_name(launch: Launch) -> str:
    """For people who look with the engine's tools. The instance's full id keeps it unique."""
    return f"skerry-{launch.workload}-{launch.instance}"


def labels(owner: str, launch: Launch) -> dict[str, str]:
    """What makes a container findable."""
    return {
        OWNER: owner,
        WORKLOAD: launch.workload,
        INSTANCE: launch.instance,
        LOG: json.dumps([str(launch.log), launch.log_size, launch.log_files]),
    }


def creation(owner: str, launch: ContainerLaunch) -> Body:
    """The body of POST /containers/create."""
    spec, resources = launch.spec, launch.resources
    host = _host(launch)
    body: Body = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in launch.environment.items()],
        "Labels": labels(owner, launch),
        "HostConfig": host,
    }
    if spec.entrypoint is not None:
        body["Entrypoint"] = spec.entrypoint
    if spec.command is not None:
        body["Cmd"] = spec.command
    if spec.directory is not None:
        body["WorkingDir"] = spec.directory
    if spec.user is not None:
        body["User"] = spec.user
    if resources.open_files is not None:
        limit = {"Name": "nofile", "Soft": resources.open_files, "Hard": resources.open_files}
        host["Ulimits"] = [limit]
    return body


def _host(launch: ContainerLaunch) -> Body:
    spec, resources = launch.spec, launch.resources
    # The directory, not the socket: an agent that restarts makes a new socket in it.
    binds = [f"{launch.socket.parent}:{PurePosixPath(SOCKET_INSIDE).parent}", *spec.volumes]
    if launch.models is not None:
        binds.append(f"{launch.models}:{MODELS_INSIDE}:ro")
    restart = "on-failure" if resources.unattended_restart else "no"
    host: Body = {
        "Binds": binds,
        "Init": False,
        "LogConfig": {"Type": "json-file", "Config": _KEPT_OUTPUT},
        "RestartPolicy": {"Name": restart},
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "Devices": [_device(item) for item in spec.devices],
    }
    if spec.network is not None:
        host["NetworkMode"] = spec.network
    if resources.memory is not None:
        host |= {"Memory": resources.memory, "MemorySwap": resources.memory}
    if resources.cpu is not None:
        host["NanoCpus"] = round(resources.cpu * 1e9)
    if resources.storage is not None and launch.strict:
        # Few storage drivers can; the engine refuses where it cannot, as «strict» wants it.
        host["StorageOpt"] = {"size": str(resources.storage)}
    if resources.pids is not None:
        host["PidsLimit"] = resources.pids
    return host


def _device(item: str) -> dict[str, str]:
    outside, _, inside = item.partition(":")
    return {
        "PathOnHost": outside,
        "PathInContainer": inside or outside,
        "CgroupPermissions": "rwm",
    }


def exit_of(code: int, at: int, *, out_of_memory: bool) -> Exit:
    """How a container ended. Engines tell a signal as 128 + its number, which an exit code may be, too."""
    number = code - 128 if 128 < code <= 128 + 64 else None
    reason = "out of memory" if out_of_memory else ""
    return Exit(None if number else code, number, at, reason)
