"""What the answers are made of, in their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from skerry.core.cyberwave.joints import JointState
from skerry.kit.clock import Clock
from skerry.node.ports import LogSource
from skerry.node.twin_ports import Tokens
from skerry.node.twins.alerts import AlertStore
from skerry.node.twins.rows import TwinStore


class Frame(msgspec.Struct, frozen=True):
    """A picture, and a number that grows with each."""

    data: bytes
    content_type: str
    generation: int


class LastSeen(Protocol):
    """What passed the node last, where somebody keeps it (the bridge, the data bus)."""

    async def joints(self, twin: str) -> Mapping[str, JointState]:
        """By name."""
        ...

    async def frame(self, twin: str, sensor: str) -> Frame | None:
        """Of a camera; an empty name: of any."""
        ...


class Device(msgspec.Struct, frozen=True):
    """How this device calls itself. `platform` as «Linux-x86_64»."""

    fingerprint: str
    hostname: str
    platform: str


class Sources(msgspec.Struct, frozen=True):
    """Of one environment. `models_root` is the models' cache; `signing` signs addresses for as long as the agent runs.

    `driver_of` is the workload that drives a twin, also one that ran last; None: there was none.
    `log_since`: from when on (wall, ns) lines of a workload are a twin's; None: none are.
    """

    environment: str
    device: Device
    tokens: Tokens
    twins: TwinStore
    alerts: AlertStore
    logs: LogSource
    driver_of: Callable[[str], str | None]
    log_since: Callable[[str, str], int | None]
    models_root: Path
    signing: bytes
    seen: LastSeen
    clock: Clock
