"""What becomes of twins' wishes, in a test's few words."""

from __future__ import annotations

from pathlib import Path

from tests.driver_rig import device

from skerry.node.drivers.device import Device, Networks, Served
from skerry.node.drivers.plans import DriverPlan, Plans, planned

HERE = Path("/srv/nowhere")


def plans(*served: Served, on: Device | None = None, **hosts: str) -> Plans:
    """A network without an address is one that the engine does not have."""
    known = {name: host for name, host in hosts.items() if host}
    refused = {name: f"has no network «{name}»" for name, host in hosts.items() if not host}
    return planned(served, on or device(HERE), Networks(known, refused))


def only(*served: Served, on: Device | None = None, **hosts: str) -> DriverPlan:
    found = plans(*served, on=on, **hosts)
    assert not found.troubles
    (plan,) = found.drivers
    return plan


def trouble(*served: Served, on: Device | None = None, **hosts: str) -> str:
    (found,) = plans(*served, on=on, **hosts).troubles
    return f"{found.kind}: {found.text}"
