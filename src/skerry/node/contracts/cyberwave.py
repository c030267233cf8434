"""The contract with Cyberwave's drivers and workers: the environment that they are started with. Pure.

What edge-core 0.1.3 and 0.1.30 give, each variable once; their documentation decides where they differ. The addresses
are this node's own: a driver never speaks with the hub, and its key is good for its twins on this node only.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from skerry.core.names import looks_secret
from skerry.kit.own_hosts import LOOPBACK

ROUTER = "cyberwave-zenoh"
"""The workload that is the data bus: before whoever is told its endpoint."""

MQTT_HOST = "CYBERWAVE_MQTT_HOST"

LISTENING = "NET_RAW"
"""The capability that no driver and no worker is left: in the device's network it hears the tokens of all others."""

CONFIG_INSIDE = "/app/.cyberwave"
"""The configuration directory as drivers and workers see it."""

MODELS_INSIDE = "/app/models"
STATUS_INSIDE = "/run/cyberwave"
MEMORY_INSIDE = "/dev/shm"  # noqa: S108 - where Zenoh looks for memory that it shares

DATA_INSIDE = "/tmp/cyberwave_data"  # noqa: S108 - the SDK's own default, in a container

_ADDRESSES = frozenset(
    {
        "CYBERWAVE_BASE_URL",
        "CYBERWAVE_API_URL",
        MQTT_HOST,
        "CYBERWAVE_MQTT_PORT",
        "CYBERWAVE_MQTT_USE_TLS",
        "CYBERWAVE_MQTT_TLS_CA_CERT",
        "CYBERWAVE_MQTT_USERNAME",
    }
)
"""Variables of the device that lead to the hub."""

_SHARED_MEMORY = "ZENOH_SHARED_MEMORY"


class Surroundings(msgspec.Struct, frozen=True):
    """What is the same for everything of Cyberwave's on this node, as seen from one network.

    `device` are the device's own CYBERWAVE_* and ZENOH_* variables, those of credentials.json beneath. `router` is the
    Zenoh router's endpoint; empty: peers find each other. `system` is «linux», «darwin» or «windows».
    """

    base_url: str
    mqtt_host: str
    mqtt_port: int
    environment: str = ""
    device: Mapping[str, str] = {}
    router: str = ""
    system: str = "linux"

    @property
    def is_apart(self) -> bool:
        """Whether its programs are in another network than the device's own."""
        return self.mqtt_host != LOOPBACK


class SharedMemory(msgspec.Struct, frozen=True):
    """What containers of drivers and workers share with each other. `locks`: they may lock as much of it as they like.

    Zenoh locks all that it shares, which is more than a container may usually do, and shares nothing where it cannot. An
    engine that may not allow it would not start them.
    """

    path: Path
    locks: bool = False

    @property
    def limits(self) -> list[dict[str, object]]:
        """The engine's `Ulimits`."""
        return [{"Name": "memlock", "Soft": -1, "Hard": -1}] if self.locks else []


class DriverFacts(msgspec.Struct, frozen=True):
    """One driver: its twin, its key, its linked camera children, and its file if the twin has one."""

    twin: str
    token: str
    children: Sequence[str] = ()
    twin_file: str = ""
    video_device: str = ""


class WorkerFacts(msgspec.Struct, frozen=True):
    """The workers of an environment: its UUID, their key, the twins that they may speak for."""

    environment: str
    token: str
    twins: Sequence[str]


def driver_environment(
    around: Surroundings, driver: DriverFacts, params: Mapping[str, str]
) -> dict[str, str]:
    """A driver's variables. Those of its `params` win and come last, in their own order."""
    found = {
        "CYBERWAVE_TWIN_UUID": driver.twin,
        "CYBERWAVE_API_KEY": driver.token,
        "CYBERWAVE_TWIN_JSON_FILE": driver.twin_file,
        "CYBERWAVE_CHILD_TWIN_UUIDS": ",".join(dict.fromkeys(driver.children)),
        "CYBERWAVE_EDGE_CONFIG_DIR": CONFIG_INSIDE,
        "CYBERWAVE_METADATA_VIDEO_DEVICE": driver.video_device,
        **_common(around),
    }
    backend = params.get("CYBERWAVE_DATA_BACKEND", found["CYBERWAVE_DATA_BACKEND"])
    if backend == "zenoh":
        found[_SHARED_MEMORY] = _shared_memory(around, default=False)
    return _joined(found, around.device, params)


def worker_environment(around: Surroundings, worker: WorkerFacts) -> dict[str, str]:
    """The worker container's variables."""
    twins = sorted(worker.twins)
    shared_memory = _shared_memory(around, default=around.system == "linux")
    found = {
        "CYBERWAVE_API_KEY": worker.token,
        "CYBERWAVE_ENVIRONMENT_UUID": worker.environment,
        "CYBERWAVE_TWIN_UUIDS": ",".join(twins),
        "CYBERWAVE_TWIN_UUID": twins[0] if twins else "",
        "CYBERWAVE_EDGE_CONFIG_DIR": CONFIG_INSIDE,
        "CYBERWAVE_WORKER_STATUS_PATH": f"{STATUS_INSIDE}/worker-status.json",
        **_common(around),
        # The documented name, and the one that the SDK reads.
        "ZENOH_SHM_ENABLED": shared_memory,
        _SHARED_MEMORY: shared_memory,
    }
    return _joined(found, around.device, {})


def bus_inside(environment: Mapping[str, str]) -> str:
    """Where a program with these variables looks for the data bus in a container, if its bus is made of files; else empty."""
    if environment.get("CYBERWAVE_DATA_BACKEND", "").strip().lower() != "filesystem":
        return ""
    return environment.get("CYBERWAVE_DATA_DIR", "") or DATA_INSIDE


def has_own_memory(host: Mapping[str, Any]) -> bool:
    """Whether a part of the engine's HostConfig says what the container has at /dev/shm: then it shares none with others."""
    targets = [
        *(bind.split(":")[1 if ":" in bind else 0] for bind in host.get("Binds", ())),
        *(mount["Target"] for mount in host.get("Mounts", ())),
        *host.get("Tmpfs", ()),
    ]
    own = any(posixpath.normpath(target) == MEMORY_INSIDE for target in targets)
    return own or not host.keys().isdisjoint(("IpcMode", "ShmSize"))


def _common(around: Surroundings) -> dict[str, str]:
    listen = around.device.get("ZENOH_LISTEN", "tcp/127.0.0.1:0")
    said = around.device.get("ZENOH_MODE", "").strip().lower()
    return {
        "CYBERWAVE_EDGE_HOST_PLATFORM": around.system,
        "CYBERWAVE_BASE_URL": around.base_url,
        "CYBERWAVE_API_URL": around.base_url,
        MQTT_HOST: around.mqtt_host,
        "CYBERWAVE_MQTT_PORT": str(around.mqtt_port),
        "CYBERWAVE_ENVIRONMENT": around.environment,
        "CYBERWAVE_DATA_BACKEND": around.device.get("CYBERWAVE_DATA_BACKEND", "zenoh"),
        "ZENOH_CONNECT": _endpoints(around.router, around.device.get("ZENOH_CONNECT", "")),
        # Peers speak with each other directly, and cannot from one network into another: clients have the router do it. And
        # they look for each other on the device's own network, where anybody may answer: a device may have it otherwise.
        "ZENOH_MODE": "client" if around.router and (around.is_apart or said == "client") else "",
        # Zenoh's own default is every interface of the device.
        "ZENOH_LISTEN": listen,
    }


def _endpoints(*lists: str) -> str:
    """Each once, in their order."""
    every = [one.strip() for text in lists for one in text.split(",")]
    return ",".join(dict.fromkeys(filter(None, every)))


def _shared_memory(around: Surroundings, *, default: bool) -> str:
    said = around.device.get(_SHARED_MEMORY, "").strip().lower()
    return "true" if said in ("true", "1", "yes", "on") or (not said and default) else "false"


def _joined(
    found: Mapping[str, str], device: Mapping[str, str], params: Mapping[str, str]
) -> dict[str, str]:
    """Empty ones of ours are left out; then the device's others, then what `params` say."""
    joined = {name: value for name, value in found.items() if value and name not in params}
    for name, value in device.items():
        ours = name in found or name in params or name in _ADDRESSES
        if name.startswith("CYBERWAVE_") and not ours and not looks_secret(name):
            joined[name] = value
    return joined | dict(params)
