"""Bodies as Cyberwave's SDK reads them: its models are strict, and a required key must be there even when it is null.

A body is what is stored (a JSON object, with whatever keys its writers gave it) and what goes over the wire, completed.
Read from `cyberwave.rest.models` of SDK 0.7.4; extra keys are ignored there and kept here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]

_NAMED: Body = {"name": "", "description": ""}
_DATED: Body = {"created_at": "1970-01-01T00:00:00Z", "updated_at": "1970-01-01T00:00:00Z"}

TWIN: Body = {
    **_NAMED,
    "asset_uuid": "",
    "environment_uuid": "",
    **_DATED,
    "glb_file": None,
    "splat_file": None,
    "urdf_file": None,
    "visual_asset_status": {},
    **dict.fromkeys(("position_x", "position_y", "position_z"), 0.0),
    "rotation_w": 1.0,
    **dict.fromkeys(("rotation_x", "rotation_y", "rotation_z"), 0.0),
    **dict.fromkeys(("scale_x", "scale_y", "scale_z"), 1.0),
    "metadata": {},
    "capabilities": {},
    **dict.fromkeys(("attach_offset_x", "attach_offset_y", "attach_offset_z"), 0.0),
    "attach_offset_rotation_w": 1.0,
    **dict.fromkeys([f"attach_offset_rotation_{axis}" for axis in "xyz"], 0.0),
    "fixed_base": False,
}

ASSET: Body = {**_NAMED, **_DATED}

ENVIRONMENT: Body = {**_NAMED, "project_uuid": None, **_DATED, "control_plane_access": "full"}

WORKSPACE: Body = {
    **_NAMED,
    "organization": "",
    "slug": "",
    "users": [],
    "owner": None,
    **_DATED,
    "metadata": {},
}

PROJECT: Body = {
    **_NAMED,
    "workspace_uuid": "",
    "organization_uuid": "",
    "owner_uuid": "",
    "visibility": "private",
    **_DATED,
}

EDGE: Body = {
    "fingerprint": None,
    "name": "",
    "workspace_uuid": None,
    "hostname": "",
    "platform": "",
    "status": "online",
    "is_online": True,
    "liveness_state": "online",
    "last_heartbeat": None,
    "last_seen_at": None,
    "last_ip_address": None,
    **_DATED,
    "organization_uuid": None,
    "metadata": {},
}

ML_MODEL: Body = {
    **_NAMED,
    **_DATED,
    "workspace_uuid": "",
    "metadata": {},
    "visibility": "private",
    "tags": [],
    "model_external_id": "",
    "model_provider_name": "",
    "deployment": "edge",
    "is_trainable": False,
    "supported_level": "",
    **dict.fromkeys(
        [f"can_take_{kind}_as_input" for kind in ("video", "audio", "image", "text", "action")],
        False,
    ),
    "is_edge_compatible": True,
    "is_cloud_compatible": False,
}


def completed(schema: Body, uuid: str, body: Body) -> dict[str, object]:
    """`body` with its UUID and every key that its readers require; null stands only where they take it."""
    told = {
        key: value for key, value in body.items() if value is not None or schema.get(key) is None
    }
    return {**copy.deepcopy(dict(schema)), **told, "uuid": uuid}
