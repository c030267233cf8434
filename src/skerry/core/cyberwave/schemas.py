"""Bodies as Cyberwave's SDK reads them: its models are strict, and a required key must be there even when it is null.

A body is what is stored (a JSON object, with whatever keys its writers gave it) and what goes over the wire, completed.
Read from `cyberwave.rest.models` of SDK 0.7.4; extra keys are ignored there and kept here. People may write any value
into a row, and one of a wrong type would keep every program from reading the twin at all: it is as if it were not there.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from skerry.core.merging.amounts import is_number

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


_TEXTS = """
slug visibility thumbnail glb_file splat_file urdf_file zip_file registry_id registry_id_alias owner_uuid workspace_uuid
origin_environment_uuid controller_policy_uuid attach_to_twin_uuid attach_to_link schema_hash build_status
universal_schema_source lab_kind
"""
_OBJECTS = """
metadata capabilities joint_states kinematics_override joint_calibration universal_schema mqtt_command_schema kinematics settings
"""
_FLAGS = "fixed_base is_kit has_universal_schema is_purchasable is_rentable is_template is_lab has_running_simulation"
_NUMBERS = "purchase_price monthly_price total_monthly_cost total_purchase_cost"
_LISTS = "child_twin_uuids supported_simulation_backends controllable_joint_names tags"

_KINDS: tuple[tuple[object, str], ...] = (
    ("", _TEXTS),
    ({}, _OBJECTS),
    (False, _FLAGS),
    (0.0, _NUMBERS),
    ([], _LISTS),
)

_OPTIONAL: Body = {key: like for like, keys in _KINDS for key in keys.split()}
"""Keys that may be missing or null, with a value of their type."""


def completed(schema: Body, uuid: str, body: Body) -> dict[str, object]:
    """`body` with its UUID and every key that its readers require; a value that they do not take is left out, or the default."""
    told = {key: value for key, value in body.items() if _is_taken(schema, key, value)}
    return {**copy.deepcopy(dict(schema)), **told, "uuid": uuid}


def misfits(schema: Body, body: Body) -> list[str]:
    """The keys whose values are of a wrong type, as `completed` finds them; null is none."""
    return [
        key
        for key, value in body.items()
        if value is not None and not _is_taken(schema, key, value)
    ]


def _is_taken(schema: Body, key: str, value: object) -> bool:
    if value is None:
        return schema.get(key) is None
    check = _SPECIAL.get(key)
    if check is not None:
        return check(value)
    like = schema[key] if key in schema else _OPTIONAL.get(key, value)
    return _is_like(value, "" if like is None else like)


def _is_like(value: object, like: object) -> bool:
    """All lists that are told of here are of texts."""
    if is_number(like):
        return is_number(value)
    if isinstance(like, list):
        return isinstance(value, list) and (value == like or _are_texts(value))
    return type(value) is type(like)


def _are_texts(value: list[Any]) -> bool:
    return all(isinstance(each, str) for each in value)


_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt _][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)
"""Not all that Python takes: no dates by weeks, say."""

_EARLIEST, _LATEST = -2e10, 2.5e14
"""Seconds since 1970, beyond 2e10 milliseconds."""


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return is_number(value) and _EARLIEST <= value <= _LATEST
    if not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _are_warnings(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and _are_texts(list(each.values())) for each in value
    )


_REMARK = ("code", "severity", "scope", "title", "message", "path")
_SEVERITIES = ("info", "warning")
_SCOPES = ("asset", "instance")


def _are_remarks(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and _are_texts([each.get(key) for key in _REMARK])
        and each["severity"] in _SEVERITIES
        and each["scope"] in _SCOPES
        and isinstance(each.get("fallback", ""), str | None)
        for each in value
    )


_SPECIAL: Mapping[str, Callable[[object], bool]] = {
    "created_at": _is_time,
    "export_warnings": _are_warnings,
    "configuration_feedback": _are_remarks,
}
