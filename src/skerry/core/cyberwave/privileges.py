"""What a driver's options would give it of the device beyond its own hardware; only a driver that is trusted gets that.

A driver has the devices, groups, ports and files that its `params` name. What makes a container as good as root on the
device, or shows it what the node keeps from others, has to be allowed on the device itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from skerry.core.cyberwave.run_options import RunOptions

HARMLESS = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "IPC_LOCK",
    }
)  # fmt: skip
"""What an engine gives by itself, and what real-time drivers ask for: neither leads out of the container."""

_DISKS = re.compile(
    r"/dev/(mem|kmem|port|kmsg|sd|nvme|mmcblk|vd|xvd|dm-|md|mapper|loop|disk|shm|kvm)"
)
_WHOLE = (
    "/",
    "/dev",
    "/etc",
    "/home",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/var",
    "/var/lib",
    "/var/run",
    "/boot",
)
"""Directories that hold more than any driver needs: they themselves, or what is above them."""

_SYSTEM = (
    "/boot",
    "/etc",
    "/lib",
    "/bin",
    "/sbin",
    "/proc",
    "/root",
    "/usr",
    "/var/lib/docker",
    "/var/lib/containers",
)
"""What is in these is nobody's to write."""

_ENGINES = re.compile(r"(docker|podman|containerd|crio)[^/]*\.sock$")
_HOST_MODES = (
    ("PidMode", "--pid"), ("IpcMode", "--ipc"), ("UTSMode", "--uts"), ("UsernsMode", "--userns"), ("CgroupnsMode", "--cgroupns"),
)  # fmt: skip


def asked(
    options: RunOptions, private: Iterable[str], real: Callable[[str], str] = os.path.realpath
) -> list[str]:
    """The options that need a trusted driver, in their words. `private` is what the node keeps for itself."""
    host = options.host
    return [
        *(["--privileged"] if options.privileged else []),
        *_capabilities(host.get("CapAdd", ())),
        *(f"{flag} {host[key]}" for key, flag in _HOST_MODES if _is_shared(host.get(key, ""))),
        *(f"--network {name}" for name in options.networks[-1:] if name.startswith("container:")),
        *(f"--security-opt {one}" for one in host.get("SecurityOpt", ()) if _loosens(one)),
        *(f"--device {one['PathOnHost']}" for one in host.get("Devices", ()) if _DISKS.match(real(one["PathOnHost"]))),
        *(f"--device-cgroup-rule {one}" for one in host.get("DeviceCgroupRules", ()) if one[0] != "c"),
        *(f"--mount {source}" for source, writes in _sources(host) if _is_kept(real(source), private, writes=writes)),
    ]  # fmt: skip


def is_trusted(allowed: Sequence[str], names: Iterable[str]) -> bool:
    """Whether one of a driver's names (its asset's registry id, its image with or without tag, its command) is allowed."""
    known = {name for name in names if name}
    known |= {name.rpartition("@")[0] for name in known if "@" in name}
    known |= {name.rpartition(":")[0] for name in known if ":" in name.rpartition("/")[2]}
    return bool(known & set(allowed))


def _capabilities(names: Iterable[str]) -> list[str]:
    bare = (name.upper().removeprefix("CAP_") for name in names)
    return [f"--cap-add {name}" for name in bare if name not in HARMLESS]


def _is_shared(mode: str) -> bool:
    return mode == "host" or mode.startswith(("container:", "ns:"))


def _loosens(option: str) -> bool:
    name, _, value = option.replace("=", ":", 1).partition(":")
    return name != "no-new-privileges" and value.strip() != "enforce"


def _sources(host: Mapping[str, object]) -> Iterable[tuple[str, bool]]:
    """Each place of the device that is shown, and whether it may be written to."""
    for bind in _list(host.get("Binds")):
        source, _, rest = str(bind).partition(":")
        if source.startswith("/"):
            yield source, "ro" not in rest.partition(":")[2].split(",")
    for mount in _list(host.get("Mounts")):
        if isinstance(mount, Mapping) and str(mount.get("Source", "")).startswith("/"):
            yield str(mount["Source"]), not mount.get("ReadOnly")


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _is_kept(source: str, private: Iterable[str], *, writes: bool) -> bool:
    place = PurePosixPath(source)
    for own in map(PurePosixPath, private):
        if place.is_relative_to(own) or own.is_relative_to(place):
            return True
    if _ENGINES.search(source) or _DISKS.match(source):
        return True
    if any(PurePosixPath(whole).is_relative_to(place) for whole in _WHOLE):
        return True
    kept = _SYSTEM if writes else ("/root", "/proc", "/etc/shadow", "/etc/ssh", "/etc/ssl/private")
    return any(place.is_relative_to(one) for one in kept)
