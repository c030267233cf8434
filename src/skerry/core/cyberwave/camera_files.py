"""What of edge.json and cameras.json one driver is shown: nothing about cameras of twins that are not its own. Pure.

Addresses of network cameras stand in them, often with a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from skerry.core.cyberwave.json_objects import object_of

_NUMBERED = re.compile(r"(?:/dev/video)?\d{1,9}", re.ASCII)
_OF_THE_EDGE = ("uuid", "name", "fingerprint")


def edge_shown(text: bytes, twins: Collection[str]) -> bytes:
    """Raises InvalidInput for what is no JSON object."""
    edge = object_of(text)
    shown = {name: edge[name] for name in _OF_THE_EDGE if isinstance(edge.get(name), str)}
    metadata = edge.get("metadata")
    cameras = metadata.get("cameras") if isinstance(metadata, dict) else None
    if isinstance(cameras, dict):
        shown["metadata"] = {"cameras": _own(cameras, twins)}
    return msgspec.json.encode(shown)


def cameras_shown(text: bytes, twins: Collection[str]) -> bytes:
    """Raises InvalidInput for what is no JSON object."""
    return msgspec.json.encode(_own(object_of(text), twins))


def _own(cameras: Mapping[str, object], twins: Collection[str]) -> dict[str, object]:
    shown: dict[str, object] = {}
    others = cameras.get("selected_device")
    if isinstance(others, str | int) and _NUMBERED.fullmatch(str(others)):
        shown["selected_device"] = others
    devices = cameras.get("twin_to_device")
    if isinstance(devices, dict):
        shown["twin_to_device"] = {twin: devices[twin] for twin in twins if twin in devices}
    return shown
