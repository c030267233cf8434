"""On which interface of this device an address is.

Linux answers at each of its addresses on every interface: from the network that the device itself is in, a route to it is
all that it takes to reach the address of a container network, unless who listens there hears that interface alone.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

_SIOCGIFCONF = 0x8912
_NAME = 16
_ENTRY = _NAME + (24 if struct.calcsize("P") == 8 else 16)
"""Bytes of Linux' `ifreq`."""
_MOST = 1024
"""Addresses that are looked at."""
_IPV6 = "/proc/net/if_inet6"

Place = tuple[str, int]
"""An interface's name and number: one that is made anew has another number."""


def place_of(address: str) -> Place | None:
    """None: the device does not have the address now."""
    name = _of_ipv6(address) if ":" in address else _of_ipv4(address)
    try:
        return (name, socket.if_nametoindex(name)) if name else None
    except OSError:  # it is gone already
        return None


def _of_ipv4(address: str) -> str:
    wanted = socket.inet_aton(address)
    found = array.array("B", bytes(_MOST * _ENTRY))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asked = struct.pack("iP", len(found), found.buffer_info()[0])
        length, _ = struct.unpack("iP", fcntl.ioctl(asking, _SIOCGIFCONF, asked))
    for at in range(0, length, _ENTRY):
        entry = found[at : at + _ENTRY].tobytes()
        if entry[_NAME + 4 : _NAME + 8] == wanted:
            return _base(entry[:_NAME].rstrip(b"\0").decode())
    return ""


def _of_ipv6(address: str) -> str:
    wanted = socket.inet_pton(socket.AF_INET6, address).hex()
    try:
        with open(_IPV6) as lines:  # noqa: PTH123 - `pathlib` would be loaded for it
            for line in lines:
                number, *_, name = line.split()
                if number == wanted:
                    return name
    except FileNotFoundError:  # a kernel without IPv6
        pass
    return ""


def _base(name: str) -> str:
    """Another address of an interface has a label, NAME:LABEL."""
    return name.partition(":")[0]
