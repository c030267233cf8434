"""What drivers are chosen and started by: the twins that this device serves, and the device itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from skerry.core.cyberwave.drivers import Platform
from skerry.core.cyberwave.names import said_prefix
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.contracts.cyberwave import SharedMemory
from skerry.node.drivers.limits import DriverLimits
from skerry.node.twin_ports import DeviceConfig

Body = Mapping[str, Any]

HOST = "host"
"""The device's own network, which a driver has unless its `params` name another."""


class Served(msgspec.Struct, frozen=True):
    """A twin that this device serves, with what it is a model of (empty: not known here)."""

    uuid: str
    body: Body
    asset: Body = {}


class Networks(msgspec.Struct, frozen=True):
    """How the node is reached from the networks of the engine, as far as that is known: by the network's name.

    `refused`: why it is not reached from that one.
    """

    hosts: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}

    def host(self, network: str) -> str | None:
        """None: not known yet."""
        if network in {HOST, "none"} or network.startswith("container:"):
            return LOOPBACK
        return self.hosts.get(network)


class Device(msgspec.Struct, frozen=True):
    """What all drivers have in common.

    `directory` is the configuration directory, `private` what is shown to no driver, `trusted` the names of drivers that
    may have more than their own hardware. `views` is where their views of `directory` are made, `bus` where they exchange files. `router` is the Zenoh
    router's endpoint by the host that it is reached at; empty: there is none.
    """

    config: DeviceConfig
    platform: Platform
    directory: Path
    views: Path
    bus: Path
    private: Sequence[Path] = ()
    trusted: Sequence[str] = ()
    rest_port: int = 18883
    mqtt_port: int = 18884
    router: str = ""
    shared: SharedMemory | None = None
    """The memory that their containers share; None: they share none."""
    limits: DriverLimits = DriverLimits()
    variables: Sequence[str] = ()
    """Those that `params` may give to drivers which are trusted by image or command, beside the known ones."""

    @property
    def system(self) -> str:
        """«linux», «darwin» or «windows»."""
        return self.platform.system.lower()

    @property
    def environment(self) -> str:
        """The name of Cyberwave's environment («dev»); empty in production."""
        name = self.config.variables.get("CYBERWAVE_ENVIRONMENT", "").strip().lower()
        return "" if name == "production" else name

    @property
    def topic_prefix(self) -> str:
        """What the topics of its drivers begin with: the device says it, and no twin."""
        return said_prefix(self.config.variables)
