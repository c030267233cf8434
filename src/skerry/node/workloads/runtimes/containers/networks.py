"""At which address a container reaches this device, by the network that it is in. Pure, but for the question itself."""

from __future__ import annotations

import ipaddress
from typing import Protocol

from skerry.kit.errors import Refused, Transient
from skerry.kit.own_hosts import LOOPBACK
from skerry.node.workloads.runtimes.containers.answers import Network, Range
from skerry.node.workloads.runtimes.containers.engine import EngineRefusal

DEFAULT = "bridge"
"""What both engines call the network of a container that names none."""


class AsksForNetworks(Protocol):
    """The engine, as far as this is concerned."""

    async def network(self, name: str) -> Network | None: ...


async def gateway(engine: AsksForNetworks, name: str) -> str:
    """The address of this device in the network `name`; empty: the engine's own default.

    An engine may give it to the device only when the first container is there. Raises Refused where the network does not
    exist or leads to no such address, Transient when no engine says.
    """
    if name == "host":
        return LOOPBACK
    if name == "none":
        raise Refused("network «none» leads nowhere: its containers cannot reach this device")
    if name.startswith(("container:", "ns:")):
        raise Refused(f"network «{name}» is another container's: name the network itself")
    asked = DEFAULT if name in {"", "default"} else name
    try:
        network = await engine.network(asked)
    except EngineRefusal as refusal:
        raise Transient(
            f"the container engine does not say how network «{asked}» is made: {refusal}"
        ) from refusal
    if network is None:
        raise Refused(
            f"the container engine has no network «{asked}». Make it («docker network create {asked}»), or name another"
        )
    return _address(network)


def _address(network: Network) -> str:
    """Of several the first of IPv4: drivers and their brokers are used to that."""
    if network.driver != "bridge":
        raise Refused(
            f"containers of network «{network.name}» cannot reach this device: it is a {network.driver} network, "
            "not a bridge"
        )
    addresses = [_of_device(one) for one in network.ipam.config or () if one.gateway or one.subnet]
    if not addresses:
        raise Refused(
            f"containers of network «{network.name}» cannot reach this device: it has no gateway"
        )
    return str(min(addresses, key=lambda address: address.version))


def _of_device(one: Range) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Docker does not say which it takes of a subnet that it was given, and takes the first."""
    if one.gateway:
        return ipaddress.ip_interface(one.gateway).ip
    return ipaddress.ip_network(one.subnet)[1]
