"""What people are shown of twins' rows, at the hub's page and by the command line. Strangers write these rows. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from skerry.core.merging.bodies import Body, Value

DriverState = Literal["never heard", "offline", "silent", "online"]
"""«silent»: only the device speaks for the twin, as it does until a driver runs."""


def text_of(body: Body, *path: str) -> str:
    """The text at this place; empty where there is none."""
    found: Value = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def driver_state(devices: Collection[str], presence: Body) -> DriverState:
    """Of the driver of a twin that these devices are said to serve; `presence` is empty where there is no such row."""
    if not presence:
        return "never heard"
    if presence.get("online") is not True:
        return "offline"
    return "silent" if text_of(presence, "edge_id") in devices else "online"
