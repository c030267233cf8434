"""What a strict native workload sees and may reach: from its launch to the request that the keeper carries out. Pure.

Beyond the device's programs and libraries, everything is granted by name: its own directory and its socket by the
node, the rest by `allow` in the spec. The keeper's side is `keeper.confinement`, the reasons are docs/adr/0006.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry.kit.errors import Refused
from skerry.node.ports import ProcessLaunch, WasmLaunch
from skerry.wire.workload import Allow

PROGRAMS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
)  # fmt: skip
SETTINGS = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/crypto-policies", "/etc/gai.conf",
    "/etc/group", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/locale.alias", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd",
    "/etc/pki", "/etc/protocols", "/etc/resolv.conf", "/etc/services", "/etc/ssl", "/etc/timezone",
)  # fmt: skip
"""What ordinary programs read and nothing secret: no shadow, no keys but those that everybody trusts."""

PIDS = 512
"""Processes and threads of a strict workload whose spec names no other number: no bomb takes the device along."""

ROOM = 64 << 20
"""Bytes of /tmp where no memory limit bounds it."""

_ENVIRONMENT = {"TMPDIR": "/tmp"}  # noqa: S108 - its own
_LANDLOCK_FOR_PORTS = 6
"""TCP ports came with version 4, abstract UNIX sockets, which lie in the device's network too, with 6."""


class Powers(msgspec.Struct, frozen=True):
    """What this device and this process can do, as `keeper.powers` has found it."""

    root: bool
    namespaces: str = ""
    """Why there are none; empty when there are."""
    landlock: int = 0
    seccomp: bool = False
    machine_known: bool = True


class Surroundings(msgspec.Struct, frozen=True):
    """Where the node lives, and what its own interpreter needs."""

    data_dir: Path
    interpreter: tuple[Path, ...]


def missing_power(powers: Powers, allow: Allow) -> str:
    """What strict isolation needs and this device does not have, for people; empty when nothing is missing."""
    if not powers.root:
        return "it gives each workload a user of its own, which only root can. Run the node as root"
    if not powers.machine_known:
        return "this kind of machine is not supported"
    if powers.namespaces:
        return f"the kernel gives no namespaces: {powers.namespaces}"
    if not powers.seccomp:
        return "the kernel has no seccomp filters"
    if allow.connect and powers.landlock < _LANDLOCK_FOR_PORTS:
        return (
            f"allow.connect needs Landlock {_LANDLOCK_FOR_PORTS} (Linux 6.12), this kernel has "
            f"{powers.landlock or 'none'}. Leave it out, or allow.network: true for all of the network"
        )
    return ""


def request_fields(
    launch: ProcessLaunch, user: int, around: Surroundings
) -> list[tuple[str, object]]:
    """The part of the keeper's request that confines. Raises Refused when the launch cannot work so."""
    own = [str(each) for each in (launch.socket.parent, launch.models, launch.secrets) if each]
    shown = [*PROGRAMS, *SETTINGS, *map(str, around.interpreter), *own, *launch.allow.read]
    shown += map(str, launch.shown)
    given = [str(launch.home), *map(str, launch.given), *launch.allow.write]
    _check_grants(launch, around.data_dir)
    _check_seen("process.directory", str(launch.directory), [*shown, *given])
    if launch.command[0].startswith("/"):
        _check_seen("process.command", launch.command[0], [*shown, *given])
    return [
        ("user", user),
        ("network", network_of(launch)),
        *(("port", port) for port in launch.allow.connect),
        *(("show", path) for path in shown),
        *(("give", path) for path in given),
        ("private", str(around.data_dir)),
        ("room", launch.resources.memory or ROOM),
        *(("env", f"{name}={value}") for name, value in _ENVIRONMENT.items()),
    ]


def network_of(launch: ProcessLaunch) -> str:
    """In the keeper's words."""
    if launch.allow.network:
        return "device"
    return "ports" if launch.allow.connect else "own"


def in_words(launch: ProcessLaunch, user: int, limits: str, powers: Powers) -> str:
    """What is in force, for the status."""
    networks = {
        "own": "no network",
        "ports": f"TCP to {', '.join(map(str, launch.allow.connect))} only",
        "device": "the device's network",
    }
    landlock = f"landlock {powers.landlock}" if powers.landlock else "no landlock"
    parts = [f"user {user}", limits, "own files", landlock, "seccomp", networks[network_of(launch)]]
    return f"strict: {', '.join(filter(None, parts))}"


def _check_grants(launch: ProcessLaunch, data_dir: Path) -> None:
    directories = launch.directories if isinstance(launch, WasmLaunch) else ()
    for path in map(Path, (*launch.allow.read, *launch.allow.write)):
        if path.is_relative_to(data_dir) or data_dir.is_relative_to(path):
            field = "wasm.directories" if path in directories else "allow"
            raise Refused(
                f"{field} cannot name {path}: the node's own data is at {data_dir}. Name a directory beside it."
            )


def _check_seen(field: str, path: str, seen: Sequence[str]) -> None:
    if not any(Path(path).is_relative_to(each) for each in seen):
        raise Refused(f"{field} {path} is out of its sight. Add it to allow.read in the spec.")
