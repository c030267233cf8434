"""What an engine answers and tells, as far as we read it."""

from __future__ import annotations

import msgspec


class Health(msgspec.Struct, frozen=True, rename="pascal"):
    """What the container's own health check says: starting, healthy, unhealthy; «none» or nothing without one."""

    status: str = ""


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """How a container is. Times are RFC 3339; `pid` is 0 unless it runs."""

    status: str
    pid: int = 0
    exit_code: int = 0
    o_o_m_killed: bool = msgspec.field(name="OOMKilled", default=False)
    finished_at: str = ""
    health: Health | None = None


class Config(msgspec.Struct, frozen=True, rename="pascal"):
    """What a container was made with: its environment as «NAME=VALUE»."""

    env: list[str] | None = None
    labels: dict[str, str] | None = None


class RestartPolicy(msgspec.Struct, frozen=True, rename="pascal"):
    """When the engine starts a container again by itself: no, on-failure, unless-stopped, always."""

    name: str = ""


class HostConfig(msgspec.Struct, frozen=True, rename="pascal"):
    """How the engine runs it."""

    restart_policy: RestartPolicy = RestartPolicy()


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """A container, as `inspect` tells. `restart_count` is how often the engine has started it again by itself."""

    id: str
    state: State
    config: Config = Config()
    host_config: HostConfig = HostConfig()
    restart_count: int = 0


class Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """A container, as `list` tells; `state` is created, running, paused, restarting, exited or dead."""

    id: str
    labels: dict[str, str]
    state: str


class Actor(msgspec.Struct, frozen=True):
    """Whom an event is about: the container's id and its labels."""

    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] = msgspec.field(name="Attributes", default_factory=dict)


class Happening(msgspec.Struct, frozen=True):
    """An event of a container: create, start, die, …"""

    action: str = msgspec.field(name="Action", default="")
    actor: Actor = msgspec.field(name="Actor", default_factory=Actor)


class PullBytes(msgspec.Struct, frozen=True):
    """Bytes of one layer; 0 where the engine does not say."""

    current: int = 0
    total: int = 0


class PullLine(msgspec.Struct, frozen=True):
    """A line of the engine's progress while it pulls: about layer `id`, or the end in `error`."""

    id: str = ""
    status: str = ""
    progress: PullBytes = msgspec.field(name="progressDetail", default_factory=PullBytes)
    error: str = ""


class CdiDevice(msgspec.Struct, frozen=True, rename="pascal"):
    """A device that the engine has found a description of."""

    id: str = msgspec.field(name="ID", default="")


class EngineInfo(msgspec.Struct, frozen=True, rename="pascal"):
    """What the engine says about itself: runtimes by name."""

    runtimes: dict[str, object] = {}
    discovered_devices: list[CdiDevice] = []


class Range(msgspec.Struct, frozen=True, rename="pascal"):
    """A range of addresses, and that of the device in it; either may be empty."""

    gateway: str = ""
    subnet: str = ""


class Ipam(msgspec.Struct, frozen=True, rename="pascal"):
    """A network's ranges of addresses."""

    config: list[Range] | None = None


class Network(msgspec.Struct, frozen=True, rename="pascal"):
    """A network of the engine."""

    name: str
    driver: str
    id: str = ""
    ipam: Ipam = msgspec.field(name="IPAM", default_factory=Ipam)
