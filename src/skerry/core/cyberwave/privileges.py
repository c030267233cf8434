"""What a driver's options would give it of the device beyond its own hardware; only a driver that is trusted gets that.

What stands here is what any driver may have: device nodes of the known kinds, its groups, ports, limits and volumes.
All else, and what is not known here, has to be allowed on the device itself.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from msgspec.structs import replace

from skerry.core.cyberwave.drivers import Driver
from skerry.core.cyberwave.run_options import RunOptions

HARMLESS = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "IPC_LOCK",
    }
)  # fmt: skip
"""What an engine gives by itself, and memory that stays in place: neither leads out of the container.

Without NET_RAW, which engines give, too: it hears on the device's own network what others say to the node, tokens among it.
And without SYS_NICE: who runs in real time has the processors, whatever the others need.
"""

_NODES = re.compile(
    r"/dev/(?:tty(?:USB|ACM|S|AMA|THS)\d+|(?:cu|tty)\.usb[^/]+|(?:serial|v4l)/by-[^/]+/[^/]+|(?:snd|dri|input|bus/usb)/.+"
    r"|(?:video|media|v4l-subdev|i2c-|gpiochip|hidraw|can)\d+|spidev\d+\.\d+)"
)
"""Serial lines, cameras, sound, graphics, input, USB, and the buses of boards."""

_FOLDERS = frozenset(f"/dev/{name}" for name in ("snd", "dri", "input", "bus/usb", "v4l", "serial"))
"""The directories that have nothing but such nodes."""

_ALIAS = re.compile(r"/dev/[^/]+")
"""Where only root makes links, udev by its rules; below /dev/shm anybody does, and could turn one after it was looked at."""

_RULE = re.compile(r"c (?:13|81|89|116|153|166|188|189|226):(?:\d+|\*) [rwm]+")
"""The same kinds by their numbers."""

_READABLE = ("/etc/localtime", "/etc/timezone", "/run/udev", "/usr/share/zoneinfo")
_BIND_OPTIONS = frozenset({"ro", "rw", "slave", "rslave", "private", "rprivate"})
"""«z» and «Z» give what is mounted another label of SELinux, on the device itself."""

_OWN_MODES = frozenset({"", "none", "private", "shareable"})
_NAMESPACED = re.compile(r"net\..+|kernel\.(?:msg|shm|sem)\w*|fs\.mqueue\..+")
"""Settings of the kernel that a container has for itself."""

_KNOWN = re.compile(
    r"CYBERWAVE_(?!.*(?:DIR|PATH|COMMAND|IMAGE))[A-Z0-9_]+|ZENOH_(?!HOME|.*(?:CONFIG|PLUGIN))[A-Z0-9_]+|ROS_DOMAIN_ID|TZ|LANG|LC_[A-Z]+|LOG_LEVEL|DEBUG"
    r"|PYTHON(?:UNBUFFERED|DONTWRITEBYTECODE|UTF8|IOENCODING|HASHSEED|FAULTHANDLER)"
)
"""Variables by which no program takes up code. Which others do (loaders, shells, interpreters, frameworks, drivers of graphics), nobody knows."""

_FOR_DATA = ("/data", "/mnt", "/media")
"""Where no image has its programs or what they are set by: what is mounted elsewhere may stand in the place of that."""

_EMPTY = ("/tmp", "/run", "/var/tmp", "/var/run", "/dev/shm")  # noqa: S108 - places in a container
"""Where nothing is missed that an image has."""

MOST_PROCESSES = 4096

_REAL_TIME = "rtprio"

_HOST_MODES = (
    ("PidMode", "--pid"), ("IpcMode", "--ipc"), ("UTSMode", "--uts"), ("UsernsMode", "--userns"), ("CgroupnsMode", "--cgroupns"),
)  # fmt: skip

JUDGED = frozenset(
    {
        "CapAdd", "SecurityOpt", "Devices", "DeviceCgroupRules", "Binds", "Mounts", "Sysctls", "Runtime", "Memory", "MemorySwap", "PidsLimit",
        "OomKillDisable", "OomScoreAdj", "Ulimits",
        *(key for key, _ in _HOST_MODES),
    }
)  # fmt: skip
"""What of the engine's HostConfig is looked at here."""

UNJUDGED = frozenset(
    {
        "BlkioWeight", "CapDrop", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "CpusetMems", "DeviceRequests", "Dns", "DnsOptions", "DnsSearch",
        "ExtraHosts", "GroupAdd", "MemoryReservation", "MemorySwappiness", "NanoCpus", "PortBindings", "PublishAllPorts",
        "ReadonlyRootfs", "ShmSize", "Tmpfs",
    }
)  # fmt: skip
"""What is the container's own affair, whatever its value."""


def asked(
    options: RunOptions,
    private: Iterable[str],
    real: Callable[[str], str] = os.path.realpath,
    most_memory: int = 0,
) -> list[str]:
    """The options that need a trusted driver, in their words. `private` is what the node keeps for itself.

    `most_memory` is what the device gives a driver at most, in bytes; 0: it has no limit.
    """
    host = options.host
    kept = {form for path in private for form in (path, real(path))}
    return [
        *(["--privileged"] if options.privileged else []),
        *_capabilities(host.get("CapAdd", ())),
        *(f"{flag} {host[key]}" for key, flag in _HOST_MODES if host.get(key, "") not in _OWN_MODES),
        *(f"--network {name}" for name in options.networks[-1:] if ":" in name),
        *(f"--security-opt {one}" for one in host.get("SecurityOpt", ()) if _loosens(one)),
        *(f"--device {one['PathOnHost']}" for one in host.get("Devices", ()) if not _is_hardware(one["PathOnHost"], real)),
        *(f"--device-cgroup-rule {one}" for one in host.get("DeviceCgroupRules", ()) if not _RULE.fullmatch(one)),
        *(f"--mount {shown}" for shown, place, writes in _shown(host) if writes or not _is_open(place, kept, real)),
        *(f"--sysctl {name}" for name in host.get("Sysctls", ()) if not _NAMESPACED.fullmatch(name)),
        *(f"--ulimit {one['Name']}={one['Soft']}" for one in host.get("Ulimits", ()) if one["Name"].lower() == _REAL_TIME),
        *_limits(host, most_memory),
        *(key for key in host if key not in JUDGED | UNJUDGED),
    ]  # fmt: skip


def trusted_by(
    driver: Driver, registry_id: str, options: RunOptions, allowed: Sequence[str] = ()
) -> list[str]:
    """The names by which the device may trust a driver, the most telling first.

    What a model is called says nothing of a driver that its twin names, an image nothing of another program in it, and the
    first word of a command nothing of the others.
    """
    names = [registry_id] if driver.of_asset else []
    if driver.command:
        names.append(shlex.join(driver.command))
    elif not another_program(options, allowed):
        names += _image_names(driver.image)
    return [name for name in names if name]


def _image_names(image: str) -> list[str]:
    """With digest and tag, and without."""
    bare = image.partition("@")[0]
    untagged = bare.rpartition(":")[0] if ":" in bare.rpartition("/")[2] else bare
    return list(dict.fromkeys((image, bare, untagged)))


def another_program(options: RunOptions, allowed: Sequence[str] = ()) -> list[str]:
    """The options by which something else may run than what an image runs by itself, in their words."""
    named = (("Entrypoint", "--entrypoint"), ("WorkingDir", "--workdir"))
    places = _foreign_places(options.host)
    return [
        *(option for key, option in named if key in options.config),
        *(f"-e {name}" for name in foreign_start(options.environment, allowed)),
        *(f"a mount at {place}" for place in places),
    ]


def _foreign_places(host: Mapping[str, Any]) -> Iterator[str]:
    """Where something stands in the container that may be in the place of a program, or of what it is set by."""
    for source, target in _mounted(host):
        as_it_is = source == target and _is_below(target, ("/dev", *_READABLE))
        if not as_it_is and not _is_below(target, _FOR_DATA):
            yield target
    for device in host.get("Devices", ()):
        if not _is_below(device["PathInContainer"], ("/dev",)):
            yield device["PathInContainer"]
    emptied = [one["Target"] for one in host.get("Mounts", ()) if one["Type"] == "tmpfs"]
    for target in (*host.get("Tmpfs", ()), *emptied):
        if not _is_below(target, (*_FOR_DATA, *_EMPTY)):
            yield target


def _mounted(host: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the container did not bring itself, and where; the engine fills a new volume with what the image has there."""
    for bind in host.get("Binds", ()):
        if ":" in bind:
            source, target, *_ = bind.split(":")
            yield source, target
    for mount in host.get("Mounts", ()):
        if mount.get("Source"):
            yield mount["Source"], mount["Target"]


def _is_below(place: str, places: Iterable[str]) -> bool:
    path = PurePosixPath(place)
    return ".." not in path.parts and any(path.is_relative_to(one) for one in places)


def foreign_start(names: Iterable[str], allowed: Sequence[str] = ()) -> list[str]:
    """Those of the variables by which a trusted program, a command or an image, may run something else.

    `allowed` are those of which the device's owner says that they do nothing of the kind: names, and beginnings of names with `*`.
    """
    exact = {name for name in allowed if not name.endswith("*")}
    begins = tuple(name[:-1] for name in allowed if name.endswith("*"))
    return [
        name
        for name in names
        if not (_KNOWN.fullmatch(name) or name in exact or name.startswith(begins))
    ]


def volumes(options: RunOptions) -> list[str]:
    """The engine's volumes that it names; one without a name is the container's own."""
    binds = [bind.partition(":")[0] for bind in options.host.get("Binds", ()) if _is_named(bind)]
    mounts = options.host.get("Mounts", ())
    return [*binds, *(one["Source"] for one in mounts if one["Type"] == "volume" and one["Source"])]


def with_own_volumes(options: RunOptions, twin: str) -> RunOptions:
    """The same with volumes of this twin alone: those of other twins and of other programs have such names, too."""
    if not volumes(options):
        return options
    own = f"cyberwave-{twin}-"
    binds = [f"{own}{bind}" if _is_named(bind) else bind for bind in options.host.get("Binds", ())]
    mounts = [
        {**one, "Source": f"{own}{one['Source']}"}
        if one["Type"] == "volume" and one["Source"]
        else one
        for one in options.host.get("Mounts", ())
    ]
    changed = {key: found for key, found in (("Binds", binds), ("Mounts", mounts)) if found}
    return replace(options, host={**options.host, **changed})


def _is_named(bind: str) -> bool:
    return ":" in bind and not bind.startswith("/")


def _capabilities(names: Iterable[str]) -> list[str]:
    bare = (name.upper().removeprefix("CAP_") for name in names)
    return [f"--cap-add {name}" for name in bare if name not in HARMLESS]


def _loosens(option: str) -> bool:
    return re.split("[=:]", option, maxsplit=1)[0] != "no-new-privileges"


def _limits(host: Mapping[str, Any], most_memory: int) -> Iterator[str]:
    if (runtime := host.get("Runtime", "nvidia")) != "nvidia":
        yield f"--runtime {runtime}"
    if most_memory and not 0 < host.get("Memory", most_memory) <= most_memory:
        yield f"--memory {host['Memory']}"
    # Twice the memory is what an engine gives by itself.
    if "MemorySwap" in host and not 0 < host["MemorySwap"] <= 2 * host.get("Memory", 0):
        yield f"--memory-swap {host['MemorySwap']}"
    if "PidsLimit" in host and not 0 < host["PidsLimit"] <= MOST_PROCESSES:
        yield f"--pids-limit {host['PidsLimit']}"
    # Who is ended last, or never, when the device has no memory left.
    if host.get("OomKillDisable"):
        yield "--oom-kill-disable"
    if host.get("OomScoreAdj", 0) < 0:
        yield f"--oom-score-adj {host['OomScoreAdj']}"


def _is_hardware(path: str, real: Callable[[str], str]) -> bool:
    """Whether it is a node of a known kind, or a directory of them, and stays so."""
    if ".." in path.split("/") or not (_is_node(path) or _ALIAS.fullmatch(path)):
        return False
    return _is_node(real(path))


def _is_node(path: str) -> bool:
    return path in _FOLDERS or _NODES.fullmatch(path) is not None


def _shown(host: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Each mount in its words, the place of the device that it shows, and whether more than reading is asked for.

    Volumes are the engine's, and no place of the device (`with_own_volumes`).
    """
    for bind in host.get("Binds", ()):
        source, _, rest = bind.partition(":")
        named = set(rest.partition(":")[2].split(",")) - {""}
        is_place = bool(rest) and source.startswith("/")
        if is_place or not named <= _BIND_OPTIONS:
            yield bind, source, "ro" not in named or not named <= _BIND_OPTIONS - {"rw"}
    for mount in host.get("Mounts", ()):
        if mount["Type"] == "bind":
            yield mount["Source"], mount["Source"], not mount["ReadOnly"]


def _is_open(source: str, private: Iterable[str], real: Callable[[str], str]) -> bool:
    """Whether any driver may read it."""
    if _is_hardware(source, real):
        return True
    if ".." in source.split("/"):
        return False
    forms = [PurePosixPath(form) for form in (source, real(source))]
    for place in forms:
        if not any(place.is_relative_to(one) for one in _READABLE):
            return False
        if any(
            place.is_relative_to(own) or PurePosixPath(own).is_relative_to(place) for own in private
        ):
            return False
    return True
