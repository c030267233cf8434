"""The documented variables of a device that serves Cyberwave's twins, as values. Pure.

`docs/reference/cyberwave.md` has the list. What cannot be used is told and has its default: a typing error in one
variable must not keep a device from serving its twins.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

import msgspec

from skerry.core.cyberwave.names import topic_prefix
from skerry.kit.errors import InvalidInput

LOOK_SECONDS = 15.0
"""What `CYBERWAVE_WORKER_SYNC_INTERVAL_LOOPS` counts: the rounds of edge-core."""

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")

_LEVELS = ("debug", "info", "warning", "error", "critical")

_BACKEND = "CYBERWAVE_DATA_BACKEND"
_BACKENDS = ("zenoh", "filesystem")

_MIB = 1 << 20


class Knobs(msgspec.Struct, frozen=True):
    """All of them. Sizes are in bytes, times in seconds, `worker_cpu` in percent of one processor; None: not said."""

    log_level: str = "info"
    environment: str = ""
    """The name, in lower case, empty in production; not its UUID."""
    health_interval: float = 5.0
    restart_threshold: int = 4
    """A driver restarts too often with more than so many restarts …"""
    restart_window: float = 60.0
    """… within so many seconds."""
    troubleshooting_url: str = "https://docs.cyberwave.com"
    workflow_interval: float = 300.0
    worker_image: str = ""
    worker_cpu: float | None = None
    worker_memory: int | None = None
    data_backend: str = "zenoh"
    data_dir: str = "/tmp/cyberwave_data"  # noqa: S108 - the SDK's own default
    router: bool = False
    router_port: int = 7447
    router_image: str = "eclipse/zenoh:latest"
    """Documented for edge-core, whose router is a container; a node's router is its own child."""
    bridge_command: str = ""
    strip_video_devices: bool = True
    faults: tuple[str, ...] = ()
    """Variables that could not be used, for people."""
    wrong: tuple[str, ...] = ()
    """Their names."""


def usable(variables: Mapping[str, str]) -> dict[str, str]:
    """What drivers and workers may be handed of these: none that has its default here, since their SDK would take it at its word."""
    knobs = knobs_of(variables)
    found = {name: value for name, value in variables.items() if name not in knobs.wrong}
    if _BACKEND in found:
        found[_BACKEND] = knobs.data_backend  # the SDK knows it in lower case only
    return found


def knobs_of(variables: Mapping[str, str]) -> Knobs:
    """What these variables say. An empty one says nothing."""
    read = _Reading(variables)
    percent = _number(1.0, 100.0 * 4096)
    values = {
        "log_level": read("CYBERWAVE_EDGE_LOG_LEVEL", _level),
        "environment": topic_prefix(variables.get("CYBERWAVE_ENVIRONMENT", "")),
        "health_interval": read(
            "CYBERWAVE_EDGE_HEALTH_PUBLISH_INTERVAL_SECONDS", _at_least(1.0, 86400.0)
        ),
        "restart_threshold": read("CYBERWAVE_DRIVER_RESTART_LOOP_THRESHOLD", _whole(1, 1000)),
        "restart_window": read(
            "CYBERWAVE_DRIVER_RESTART_LOOP_WINDOW_SECONDS", _number(1.0, 86400.0)
        ),
        "troubleshooting_url": read("CYBERWAVE_DRIVER_TROUBLESHOOTING_URL", str),
        "workflow_interval": read("CYBERWAVE_WORKER_SYNC_INTERVAL_LOOPS", _rounds),
        "worker_image": read("CYBERWAVE_WORKER_IMAGE", str),
        # What the documentation says, and what edge-core reads.
        "worker_cpu": read("CYBERWAVE_WORKER_CPU_QUOTA_PERCENT", percent)
        or read("CYBERWAVE_WORKER_CPU_PERCENT", percent),
        "worker_memory": read("CYBERWAVE_WORKER_MEMORY_MB", _mebibytes),
        "data_backend": read(_BACKEND, _backend),
        "data_dir": read("CYBERWAVE_DATA_DIR", _directory),
        "router": read("ZENOH_ROUTER_ENABLED", is_true),
        "router_port": read("ZENOH_ROUTER_PORT", _whole(1, 65535)),
        "router_image": read("ZENOH_ROUTER_IMAGE", str),
        "bridge_command": read("CYBERWAVE_MACOS_DEVICE_BRIDGE_COMMAND", str),
        "strip_video_devices": read("CYBERWAVE_MACOS_STRIP_VIDEO_DEVICE_PARAMS", is_true),
    }
    said = {name: value for name, value in values.items() if value is not None}
    return msgspec.convert(
        {**said, "faults": tuple(read.faults), "wrong": tuple(read.wrong)}, Knobs
    )


def is_true(text: str) -> bool:
    """Raises InvalidInput for what is neither true nor false."""
    word = text.lower()
    if word not in _TRUE + _FALSE:
        raise InvalidInput("is neither true nor false")
    return word in _TRUE


class _Reading:
    """Reads one variable after the other and keeps what is wrong."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self.wrong: list[str] = []
        self._variables = variables

    def __call__(self, name: str, convert: Callable[[str], object]) -> object:
        text = self._variables.get(name, "").strip()
        if not text:
            return None
        try:
            return convert(text)
        except InvalidInput as error:
            self.faults.append(f"{name} «{text:.40}» {error}: its default holds")
            self.wrong.append(name)
            return None


def _number(low: float, high: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise InvalidInput("is no number") from None
        if not low <= value <= high:  # NaN is in no range
            raise InvalidInput(f"is not between {low:g} and {high:g}")
        return value

    return convert


def _at_least(low: float, high: float) -> Callable[[str], float]:
    """A number, where less than `low` means `low`."""

    def convert(text: str) -> float:
        return max(_number(0.0, high)(text), low)

    return convert


def _whole(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        value = _number(low, high)(text)
        if value != int(value):
            raise InvalidInput("is no whole number")
        return int(value)

    return convert


def _rounds(text: str) -> float:
    return _whole(1, 100_000)(text) * LOOK_SECONDS


def _mebibytes(text: str) -> int:
    return _whole(6, 1 << 24)(text) * _MIB


def _level(text: str) -> str:
    word = {"warn": "warning", "fatal": "critical"}.get(text.lower(), text.lower())
    if word not in _LEVELS:
        raise InvalidInput(f"is none of {', '.join(_LEVELS)}")
    return word


def _directory(text: str) -> str:
    """An engine mounts nothing elsewhere."""
    if not text.startswith("/") or posixpath.normpath(text).strip("/") == "":
        raise InvalidInput("is no directory that begins with «/», or is «/» itself")
    return text


def _backend(text: str) -> str:
    if text.lower() not in _BACKENDS:
        raise InvalidInput(f"is none of {', '.join(_BACKENDS)}")
    return text.lower()
