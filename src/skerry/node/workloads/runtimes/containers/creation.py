"""From a launch to the body of the engine's «create», and how our containers are told from others'. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from skerry.core.places_inside import MODELS_INSIDE, SECRETS_INSIDE, SOCKET_INSIDE
from skerry.keeper.log_rules import LogRules, secrets_of
from skerry.node.ports import ContainerLaunch, Launch
from skerry.node.workloads.runtimes.containers.extras import with_extras
from skerry.node.workloads.runtimes.containers.strict import PIDS, TMP, user_of
from skerry.wire.workload import Exit

Body = dict[str, object]
"""JSON as the engine wants it."""

OWNER = "io.skerry.node"
"""Label of every container that is ours; its value is the node's own mark. Nothing without it is ever touched."""

WORKLOAD = "io.skerry.workload"
INSTANCE = "io.skerry.instance"
DEVICES = "io.skerry.devices"
"""The nodes of USB devices that it was given, by the spec's entry."""

LOG = "io.skerry.log"
"""Where the output goes, so that an agent that has just started need not wait for its store to tell."""

_KEPT_OUTPUT = {"max-size": "10m", "max-file": "2"}
"""The engine's own copy of what a container prints: it bridges the agent's absences, ours is the log."""


def container_name(launch: Launch) -> str:
    """For people who look with the engine's tools. The instance's full id keeps it unique, unless a contract fixes the name."""
    fixed = launch.extras.name if isinstance(launch, ContainerLaunch) else ""
    return fixed or f"skerry-{launch.workload}-{launch.instance}"


def labels(owner: str, launch: Launch) -> dict[str, str]:
    """What makes a container findable."""
    return {
        OWNER: owner,
        WORKLOAD: launch.workload,
        INSTANCE: launch.instance,
        LOG: _log_label(launch),
    }


def _log_label(launch: Launch) -> str:
    """Without secrets: whoever reads it takes them from the container's environment."""
    rules = launch.log_rules
    return json.dumps(
        [str(launch.log), rules.size, rules.files, rules.age, rules.known, rules.patterns]
    )


def log_of(label: str) -> tuple[Path, LogRules]:
    """Where the output of a listed container goes, and by which rules but for its secrets."""
    path, size, files, age, known, patterns = json.loads(label)
    return Path(path), LogRules(size, files, age, known=known, patterns=patterns)


def with_secrets(rules: LogRules, environment: list[str]) -> LogRules:
    """`rules` with the secrets of an environment as the engine lists it."""
    if not rules.known:
        return rules
    variables = dict(item.partition("=")[::2] for item in environment)
    return rules.with_secrets(secrets_of(variables))


class Findings(msgspec.Struct, frozen=True):
    """What `maker` has found out: the image's user, where that matters, the engine's way to its GPUs, USB devices."""

    image_user: str = ""
    gpus: Body | None = None
    usb: Sequence[tuple[str, str]] = ()
    """(node, name inside)."""
    handed: Mapping[str, Sequence[str]] = {}
    seccomp: str = ""
    """A strict container's profile as the engine takes it; empty: the engine's own."""


def creation(owner: str, launch: ContainerLaunch, found: Findings) -> Body:
    """The body of POST /containers/create."""
    spec, resources = launch.spec, launch.resources
    host = _host(launch, found)
    if found.gpus is not None:
        host["DeviceRequests"] = [found.gpus]
    body: Body = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in launch.environment.items()],
        "Labels": labels(owner, launch) | _told(found.handed),
        "HostConfig": host,
    }
    if spec.entrypoint is not None:
        body["Entrypoint"] = spec.entrypoint
    if spec.command is not None:
        body["Cmd"] = spec.command
    if spec.directory is not None:
        body["WorkingDir"] = spec.directory
    user = user_of(spec.user, found.image_user) if launch.strict else spec.user
    if user is not None:
        body["User"] = user
    if resources.open_files is not None:
        limit = {"Name": "nofile", "Soft": resources.open_files, "Hard": resources.open_files}
        host["Ulimits"] = [limit]
    return with_extras(body, launch.extras)


def _told(handed: Mapping[str, Sequence[str]]) -> dict[str, str]:
    nodes = {item: list(of) for item, of in handed.items()}
    return {DEVICES: json.dumps(nodes)} if nodes else {}


def _host(launch: ContainerLaunch, found: Findings) -> Body:
    spec, resources = launch.spec, launch.resources
    # The directory, not the socket: an agent that restarts makes a new socket in it.
    binds = list(spec.volumes)
    if launch.socket is not None:
        binds.insert(0, f"{launch.socket.parent}:{PurePosixPath(SOCKET_INSIDE).parent}")
    if launch.models is not None:
        binds.append(f"{launch.models}:{MODELS_INSIDE}:ro")
    if launch.secrets is not None:
        binds.append(f"{launch.secrets}:{SECRETS_INSIDE}:ro")
    restart = "on-failure" if resources.unattended_restart else "no"
    host: Body = {
        "Binds": binds,
        "Init": False,
        "LogConfig": {"Type": "json-file", "Config": _KEPT_OUTPUT},
        "RestartPolicy": {"Name": restart},
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": spec.cap_add,
        "CapDrop": _dropped(launch),
        "Devices": [_device(*pair) for pair in (*_nodes(spec.devices), *found.usb)],
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
    return _confined(host, found.seccomp) if launch.strict else host


def _dropped(launch: ContainerLaunch) -> list[str]:
    """In the device's own network NET_RAW hears the tokens that others tell the node: only who asks for it by name has it there."""
    spec = launch.spec
    added = [*spec.cap_add, *launch.extras.host.get("CapAdd", ())]
    asked = spec.privileged or not {"NET_RAW", "ALL"}.isdisjoint(map(_bare, added))
    given = spec.network == "host" and {"NET_RAW", "ALL"}.isdisjoint(map(_bare, spec.cap_drop))
    return [*spec.cap_drop, "NET_RAW"] if given and not asked else spec.cap_drop


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _confined(host: Body, seccomp: str) -> Body:
    """The spec's rules have refused what would undo this: privileges, capabilities, the device's own network."""
    usual: Body = {"NetworkMode": "none", "PidsLimit": PIDS}
    options = ["no-new-privileges"]
    if seccomp:
        options.append(f"seccomp={seccomp}")
    return (
        usual
        | host
        | {
            "CapDrop": ["ALL"],
            "SecurityOpt": options,
            "ReadonlyRootfs": True,
            "Tmpfs": TMP,
        }
    )


def _nodes(items: Sequence[str]) -> list[tuple[str, str]]:
    parts = [item.partition(":") for item in items if item.startswith("/")]
    return [(outside, inside or outside) for outside, _, inside in parts]


def _device(outside: str, inside: str) -> dict[str, str]:
    return {"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": "rwm"}


def exit_of(code: int, at: int, reason: str) -> Exit:
    """How a container ended. Engines tell a signal as 128 + its number, which an exit code may be, too."""
    number = code - 128 if 128 < code <= 128 + 64 else None
    return Exit(None if number else code, number, at, reason if code else "")
