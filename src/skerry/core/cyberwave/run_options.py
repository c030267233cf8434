"""The options of `docker run` that a driver's `params` hold: read into what the Engine's API takes.

Drivers are written for `docker run … PARAMS … IMAGE`, so every form that it takes is taken: `--name=value` and
`--name value`, `-eA=1` and `-e A=1`. What stands twice: the last one counts, where it can be given only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from skerry.kit.errors import InvalidInput

if TYPE_CHECKING:
    import argparse

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

_LARGEST = (1 << 63) - 1
"""Of the numbers that an engine takes."""

_GPU_NAMES = re.compile(r'"device=([\w:.,-]+)"|device=([\w:.-]+)')
"""In Docker's own form: several only in quotes."""

_PORT = re.compile(r"[0-9]{1,5}")

_OURS = (
    "name", "detach", "rm", "restart", "interactive", "tty", "pull", "cidfile", "init", "quiet", "attach", "sig-proxy", "detach-keys",
    "stop-timeout", "log-driver", "log-opt", "disable-content-trust", "no-healthcheck", "health-cmd", "health-interval",
    "health-retries", "health-start-period", "health-start-interval", "health-timeout",
)  # fmt: skip
"""Options that say how a container is run, which is the node's to decide: they are taken and have no effect."""


class RunOptions(msgspec.Struct, frozen=True):
    """What `params` ask for. `host` is a part of the Engine's HostConfig, `config` of the rest of «create»'s body.

    `environment` keeps the order, each variable once, the last value; `files` are the `--env-file`s to be read before
    it. `ignored` are the options that have no effect here. `gpus` is «all», a number, or empty.
    """

    environment: Mapping[str, str | None] = {}
    """None: the variable of the node's own environment."""
    files: Sequence[str] = ()
    networks: Sequence[str] = ()
    """In their order: `docker run` connects to one, the last."""
    privileged: bool = False
    gpus: str = ""
    host: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}
    ignored: Sequence[str] = ()


def parsed(params: Sequence[str]) -> RunOptions:
    """The options in `params`. Raises InvalidInput, with the option's name, for one that is unknown or malformed."""
    if not params:
        return RunOptions()
    # Costs a node more memory than all of its twins; most drivers ask for nothing.
    from skerry.core.cyberwave.run_parser import run_parser  # noqa: PLC0415

    found = run_parser(_LISTS, _VALUES, _SWITCHES).parse_args([*_switches(params)])
    _check_values(found)
    host: dict[str, object] = {}
    for key, name, read in _HOST_LISTS:
        if values := getattr(found, name):
            host[key] = [read(value) for value in values]
    for key, name, convert in _HOST_VALUES:
        if (value := getattr(found, name)) is not None:
            host[key] = convert(value)
    host |= {key: True for key, name in _HOST_SWITCHES if getattr(found, name)}
    host |= _maps(found)
    return RunOptions(
        environment=_variables(found.env or ()),
        files=tuple(found.env_file or ()),
        networks=tuple(found.network or ()),
        privileged=found.privileged,
        gpus=_gpus(found.gpus) if found.gpus and not _gpu_names(found.gpus) else "",
        host=host,
        config=_config(found),
        ignored=tuple(f"--{name}" for name in _OURS if getattr(found, name.replace("-", "_"))),
    )


def variables_of(text: str, where: str) -> dict[str, str | None]:
    """The variables in an `--env-file`. Raises InvalidInput with the line's number: what stands there may be a secret."""
    found: dict[str, str | None] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        try:
            found |= _variables([line])
        except InvalidInput:
            raise InvalidInput(f"cannot read {where}: line {number} is no NAME=VALUE") from None
    return found


def _switches(params: Sequence[str]) -> Iterable[str]:
    """`--privileged=true` is written out, `--privileged=false` left out."""
    names = {flag for flags in _SWITCHES for flag in flags.split()}
    for word in params:
        name, equals, value = word.partition("=")
        if not equals or name not in names:
            yield word
        elif value.lower() in ("true", "1", "t"):
            yield name
        elif value.lower() not in ("false", "0", "f"):
            raise InvalidInput(f"params: «{word:.80}» is neither true nor false")


def _check_values(found: argparse.Namespace) -> None:
    """The parser takes «--» for no value at all."""
    for name, value in vars(found).items():
        values = value if isinstance(value, list) else [value]
        if value == [] or not all(isinstance(one, str | bool | None) for one in values):
            raise InvalidInput(f"params: --{name.replace('_', '-')} has no value")


def _variables(items: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not name or re.search(r"\s", name) or "\0" in item:
            raise InvalidInput(f"params: «{item:.80}» is no NAME=VALUE")
        found[name] = value if equals else None
    return found


def _config(found: argparse.Namespace) -> dict[str, object]:
    config: dict[str, object] = {}
    pairs = (
        ("User", "user"),
        ("WorkingDir", "workdir"),
        ("Hostname", "hostname"),
        ("Domainname", "domainname"),
        ("StopSignal", "stop_signal"),
    )
    for key, name in pairs:
        if (value := getattr(found, name)) is not None:
            config[key] = value
    if found.entrypoint is not None:
        config["Entrypoint"] = [found.entrypoint] if found.entrypoint else [""]
    if found.expose or found.publish:
        opened = [
            *map(_port_inside, found.expose or ()),
            *(_published(one)[0] for one in found.publish or ()),
        ]
        config["ExposedPorts"] = {port: {} for port in opened}
    if found.label:
        config["Labels"] = {key: value or "" for key, value in _variables(found.label).items()}
    return config


def _maps(found: argparse.Namespace) -> dict[str, object]:
    host: dict[str, object] = {}
    if found.sysctl:
        host["Sysctls"] = {key: value or "" for key, value in _variables(found.sysctl).items()}
    if found.tmpfs:
        host["Tmpfs"] = {
            path: options for path, _, options in (one.partition(":") for one in found.tmpfs)
        }
    if names := _gpu_names(found.gpus or ""):
        host["DeviceRequests"] = [{"DeviceIDs": names, "Capabilities": [["gpu"]]}]
    if found.publish:
        ports: dict[str, list[dict[str, str]]] = {}
        for inside, outside in map(_published, found.publish):
            ports.setdefault(inside, []).append(outside)
        host["PortBindings"] = ports
    return host


def _port_inside(text: str) -> str:
    port, _, protocol = text.partition("/")
    is_port = _PORT.fullmatch(port) is not None and 0 < int(port) < 65536
    if not is_port or protocol not in ("", "tcp", "udp", "sctp"):
        raise InvalidInput(f"params: «{text:.80}» is no port like 8080 or 53/udp")
    return f"{int(port)}/{protocol or 'tcp'}"


def _published(text: str) -> tuple[str, dict[str, str]]:
    """[[ADDRESS:]PORT:]INSIDE[/PROTOCOL]."""
    outside, _, inside = text.rpartition(":")
    address, _, port = outside.rpartition(":")
    if port:
        _port_inside(port)
    return _port_inside(inside), {"HostIp": address.strip("[]"), "HostPort": port}


def _device(text: str) -> dict[str, str]:
    outside, *rest = text.split(":")
    inside = outside
    rights = "rwm"
    for part in rest[:2]:
        if part.startswith("/"):
            inside = part
        else:
            rights = part
    if not outside.startswith("/") or len(rest) > 2 or not rights or set(rights) - set("rwm"):
        raise InvalidInput(f"params: --device «{text:.80}» is no /dev/NODE[:/dev/INSIDE][:rwm]")
    return {"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": rights}


def _rule(text: str) -> str:
    if not _DEVICE_RULE.fullmatch(text):
        raise InvalidInput(
            f"params: --device-cgroup-rule «{text:.80}» is no rule like «c 81:* rmw»"
        )
    return text


def _limit(text: str) -> dict[str, object]:
    name, _, numbers = text.partition("=")
    soft, _, hard = numbers.partition(":")
    try:
        return {"Name": name, "Soft": _number(soft), "Hard": _number(hard or soft)}
    except InvalidInput as error:
        raise InvalidInput(f"params: --ulimit «{text:.80}» is no NAME=SOFT[:HARD]") from error


def _bind(text: str) -> str:
    """A volume without a name is the container's own."""
    source, *rest = text.split(":")
    is_source = source.startswith("/") or (bool(rest) and _VOLUME.fullmatch(source))
    if not is_source or len(rest) > 2 or (rest and not rest[0].startswith("/")):
        raise InvalidInput(
            f"params: --volume «{text:.80}» is no /PLACE:/INSIDE[:ro] and no NAME:/INSIDE[:ro]"
        )
    return text


def _mount(text: str) -> dict[str, object]:
    fields = _variables(text.split(","))
    source = fields.get("source") or fields.get("src") or ""
    target = fields.get("target") or fields.get("destination") or fields.get("dst")
    if not target:
        raise InvalidInput(f"params: --mount «{text:.80}» has no target")
    fits = {
        "bind": source.startswith("/"),
        "volume": not source or _VOLUME.fullmatch(source) is not None,
        "tmpfs": not source,
    }
    if not fits.get(fields.get("type") or "volume"):
        raise InvalidInput(
            f"params: --mount «{text:.80}» is no bind of a /PLACE, no volume with a NAME and no tmpfs"
        )
    read_only = any(
        name in fields and fields[name] not in ("false", "0") for name in ("readonly", "ro")
    )
    return {
        "Type": fields.get("type") or "volume",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
    }


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"params: «{text:.80}» is no size like 512m")
    return _bounded(float(match[1]) * _FACTORS[match[2].lower()], text)


def _number(text: str) -> int:
    try:
        return _bounded(int(text), text)
    except ValueError as error:
        raise InvalidInput(f"params: «{text:.80}» is no whole number") from error


def _processors(text: str) -> int:
    try:
        return _bounded(float(text) * 1e9, text)
    except ValueError as error:
        raise InvalidInput(f"params: --cpus «{text:.80}» is no number") from error


def _gpus(text: str) -> str:
    """«all», or how many; what is done with them (`capabilities=…`) is the image's affair."""
    number = text.partition(",")[0].removeprefix("count=")
    if number.isdecimal():
        return str(_number(number))
    if number not in ("all", "-1"):
        raise InvalidInput(
            f"params: --gpus «{text:.80}» is neither all, nor a number, nor device=…"
        )
    return "all"


def _gpu_names(text: str) -> list[str]:
    """Those that `device=0` and `"device=0,2"` name; none: it names none."""
    match = _GPU_NAMES.fullmatch(text)
    return [name for name in (match[1] or match[2]).split(",") if name] if match else []


def _bounded(number: float, text: str) -> int:
    if not abs(number) <= _LARGEST:  # nor is what is no number at all
        raise InvalidInput(f"params: «{text:.80}» is larger than any number that an engine takes")
    return round(number)


_LISTS = (
    "-e --env", "--env-file", "--network --net", "--add-host", "--device", "-v --volume", "--mount", "-p --publish",
    "--expose", "--cap-add", "--cap-drop", "--group-add", "--ulimit", "--tmpfs", "--security-opt",
    "--device-cgroup-rule", "--sysctl", "-l --label", "--dns", "--dns-search", "--dns-option --dns-opt", "-a --attach", "--log-opt",
)  # fmt: skip
_VALUES = (
    "-u --user", "-w --workdir", "--entrypoint", "--gpus", "--ipc", "--pid", "--uts", "--userns", "--shm-size", "-m --memory",
    "--memory-swap", "--cpus", "--cpu-period", "--cpu-quota", "--cpu-shares", "--cpuset-cpus", "--pids-limit", "-h --hostname",
    "--runtime", "--cgroupns", "--name", "--restart", "--pull", "--cidfile", "--domainname", "--stop-signal", "--stop-timeout",
    "--memory-reservation", "--memory-swappiness", "--oom-score-adj", "--blkio-weight", "--cpuset-mems", "--log-driver", "--detach-keys",
    "--health-cmd", "--health-interval", "--health-retries", "--health-start-period", "--health-start-interval", "--health-timeout",
)  # fmt: skip
_SWITCHES = (
    "--privileged",
    "--read-only",
    "-d --detach",
    "--rm",
    "-i --interactive",
    "-t --tty",
    "--init",
    "-q --quiet",
    "--sig-proxy",
    "--disable-content-trust",
    "--no-healthcheck",
    "-P --publish-all",
    "--oom-kill-disable",
)

_HOST_LISTS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ExtraHosts", "add_host", str),
    ("Devices", "device", _device),
    ("Binds", "volume", _bind),
    ("Mounts", "mount", _mount),
    ("CapAdd", "cap_add", str),
    ("CapDrop", "cap_drop", str),
    ("GroupAdd", "group_add", str),
    ("Ulimits", "ulimit", _limit),
    ("SecurityOpt", "security_opt", str),
    ("DeviceCgroupRules", "device_cgroup_rule", _rule),
    ("Dns", "dns", str),
    ("DnsSearch", "dns_search", str),
    ("DnsOptions", "dns_option", str),
)
_HOST_VALUES: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("IpcMode", "ipc", str),
    ("PidMode", "pid", str),
    ("UTSMode", "uts", str),
    ("UsernsMode", "userns", str),
    ("CgroupnsMode", "cgroupns", str),
    ("Runtime", "runtime", str),
    ("ShmSize", "shm_size", _size),
    ("Memory", "memory", _size),
    ("MemorySwap", "memory_swap", lambda text: -1 if text == "-1" else _size(text)),
    ("NanoCpus", "cpus", _processors),
    ("CpuPeriod", "cpu_period", _number),
    ("CpuQuota", "cpu_quota", _number),
    ("CpuShares", "cpu_shares", _number),
    ("CpusetCpus", "cpuset_cpus", str),
    ("PidsLimit", "pids_limit", _number),
    ("MemoryReservation", "memory_reservation", _size),
    ("MemorySwappiness", "memory_swappiness", _number),
    ("OomScoreAdj", "oom_score_adj", _number),
    ("BlkioWeight", "blkio_weight", _number),
    ("CpusetMems", "cpuset_mems", str),
)
_HOST_SWITCHES = (
    ("ReadonlyRootfs", "read_only"),
    ("PublishAllPorts", "publish_all"),
    ("OomKillDisable", "oom_kill_disable"),
)
