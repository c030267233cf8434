"""Which twins a device serves, and how: edge-core 0.1.3 and 0.1.30 and older shapes of a twin's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]

_CAMERA_SENSORS = frozenset({"rgb", "camera", "rgb_camera", "rgbd"})
_SETTINGS = frozenset(
    {
        "edge_fingerprint", "camera_config", "cameras",
        "camera_id", "source", "fps", "resolution", "camera_type",
    }
)  # fmt: skip
"""Keys of `edge_configs` that are documented to say how, and so name no device where it is the older map."""

_CAMERA_MODELS = ("standard-cam", "realsense", "camera")


def is_linked(twin: Body, fingerprint: str) -> bool:
    """Whether the twin says that the device of this fingerprint serves it; the newest shape that is there decides."""
    return fingerprint in linked_devices(twin)


def linked_devices(twin: Body) -> frozenset[str]:
    """The fingerprints that `is_linked` holds for, of all there could be."""
    metadata = _object(twin.get("metadata"))
    configs = _object(metadata.get("edge_configs"))
    for holder in (metadata, configs):
        if named := holder.get("edge_fingerprint"):
            return frozenset({named}) if isinstance(named, str) else frozenset()
    return frozenset(configs) - _SETTINGS


def edge_config(twin: Body, fingerprint: str) -> Body:
    """What the twin's metadata say about its device; of the older map, the device's own part."""
    configs = _object(_object(twin.get("metadata")).get("edge_configs"))
    return _object(configs[fingerprint]) if fingerprint in configs else configs


def camera_config(config: Body) -> Body:
    """The camera in what `edge_config` gave: `camera_config`, the first of `cameras`, or the whole of older ones."""
    if isinstance(config.get("camera_config"), Mapping):
        return _object(config["camera_config"])
    cameras = config.get("cameras")
    if isinstance(cameras, list) and cameras:
        return _object(cameras[0])
    return config


def parent_of(twin: Body) -> str | None:
    """The UUID of the twin that this one is attached to."""
    for holder in (twin, _object(twin.get("metadata"))):
        parent = holder.get("attach_to_twin_uuid")
        if isinstance(parent, str) and parent:
            return parent
    return None


def is_camera(twin: Body, asset: Body) -> bool:
    """Whether it sees in colour, by its sensors or by what it is a model of."""
    for holder in (_object(asset.get("universal_schema")), *map(_capabilities, (asset, twin))):
        sensors = holder.get("sensors")
        if isinstance(sensors, list) and any(_sees(sensor) for sensor in sensors):
            return True
    registry_id = str(asset.get("registry_id") or "").lower()
    return any(word in registry_id for word in _CAMERA_MODELS)


def children_of(parent: str, twins: Mapping[str, Body]) -> list[str]:
    """Those of the twins that are attached to `parent`, sorted."""
    return sorted(uuid for uuid, twin in twins.items() if parent_of(twin) == parent)


def _sees(sensor: object) -> bool:
    kind = sensor.get("type") if isinstance(sensor, Mapping) else sensor
    return isinstance(kind, str) and kind.lower() in _CAMERA_SENSORS


def _capabilities(body: Body) -> Body:
    return _object(body.get("capabilities"))


def _object(value: object) -> Body:
    return value if isinstance(value, Mapping) else {}
