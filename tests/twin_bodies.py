"""Twins of a small environment, and the device that serves some of them."""

from __future__ import annotations

from skerry.node.twins.rows import twins_of

ENVIRONMENT = "0e5d0c1e-0000-4000-8000-00000000000e"
ENTITY = twins_of(ENVIRONMENT)
DEVICE = "boat-7-0123456789ab"
ARM = "6f1f0c1e-0000-4000-8000-000000000001"
CAMERA = "6f1f0c1e-0000-4000-8000-000000000002"
FOREIGN = "6f1f0c1e-0000-4000-8000-000000000003"
ARM_ASSET = "a5500c1e-0000-4000-8000-00000000000a"

Json = dict[str, object]


def arm(**fields: object) -> Json:
    """The body of a twin that is linked to the device."""
    metadata = {"edge_fingerprint": DEVICE, "edge_configs": {"camera_config": {"fps": 10}}}
    return {
        "name": "arm", "asset_uuid": ARM_ASSET, "environment_uuid": ENVIRONMENT, "position_x": 1.0,
        "metadata": metadata, **fields,
    }  # fmt: skip
