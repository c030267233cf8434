"""What a device may change of the fleet's twins and alerts: what is of its own twins, and never whom they belong to (ADR 43).

Pure; the hub judges by it what nodes send. A node that was taken over must not have anything run on another device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from skerry.core.cyberwave.linking import linked_devices

Body = Mapping[str, Any]
Kind = Literal["twins", "alerts", "presence", "catalog"]

_OF_ENVIRONMENT = re.compile(r"(twins|alerts|presence|workflows)_[0-9a-f]{32}")
_KINDS: Mapping[str, Kind] = {
    "twins": "twins",
    "alerts": "alerts",
    "presence": "presence",
    "workflows": "catalog",
}
"""Workflows are code that devices run."""

SHARED_NAMES = frozenset({"assets", "environments"})
"""Entities that programs of other fleets may have for something else."""

_PEOPLES = ("uuid", "asset_uuid", "environment_uuid", "attach_to_twin_uuid")
"""Fields of a twin by which it gets other drivers, or is another one."""

_PEOPLES_METADATA = ("drivers", "attach_to_twin_uuid")

NOTHING: Body = {}


class Guarded(NamedTuple):
    """An entity whose rows are not every node's. `twins` is the entity of the twins that they are about."""

    kind: Kind
    twins: str


def guarded(entity: str) -> Guarded | None:
    """None: an entity like any other, as `SHARED_NAMES` are in a fleet without twins."""
    if entity in SHARED_NAMES:
        return Guarded("catalog", "")
    found = _OF_ENVIRONMENT.fullmatch(entity)
    if found is None:
        return None
    return Guarded(_KINDS[found[1]], f"twins_{entity.partition('_')[2]}")


def twin_fault(held: Body, becomes: Body | None, fingerprint: str) -> str:
    """Why the device may not make `becomes` (None: nothing) of the twin `held`; empty: it may."""
    before = linked_devices(held)
    if not fingerprint or fingerprint not in before:
        return "the twin is not linked to this device"
    if becomes is None:
        return "only people delete twins"
    after = linked_devices(becomes)
    if fingerprint not in after or not after <= before:
        return "only people say which device serves a twin"
    changed = [field for field in _PEOPLES if held.get(field) != becomes.get(field)]
    old, new = _object(held.get("metadata")), _object(becomes.get("metadata"))
    changed += [
        f"metadata.{field}" for field in _PEOPLES_METADATA if old.get(field) != new.get(field)
    ]
    if changed:
        return f"only people change {', '.join(changed)} of a twin"
    return ""


def alert_fault(held: Body | None, becomes: Body | None, serves: Callable[[str], bool]) -> str:
    """The same of an alert; `serves` says whether a twin of that UUID is linked to the device (empty: the alert names none)."""
    for alert in (held, becomes):
        if alert is not None and not serves(str(alert.get("twin_uuid") or "")):
            return "the alert's twin is not linked to this device"
    return ""


def _object(value: object) -> Body:
    return value if isinstance(value, Mapping) else {}
