"""What becomes of an alert when it is raised, raised again, changed, and over: pure.

The same thing told again and again is one alert with a count, as long as nobody has taken note of it. Bodies are
Cyberwave's (`AlertSchema` of SDK 0.7.4), with all of its keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from skerry.core.cyberwave.alert_kinds import OVER
from skerry.core.merging.bodies import Body, Value

SAME = ("twin_uuid", "alert_type", "name", "description", "severity", "source_type")
"""Two alerts are the same where these are."""

_PLAIN: Mapping[str, Value] = {
    "name": "",
    "description": "",
    "media": None,
    "alert_type": "",
    "severity": "warning",
    "status": "active",
    "source_type": "edge",
    "category": "technical",
    "twin_uuid": None,
    "environment_uuid": None,
    "workflow_uuid": None,
    "workspace_uuid": "",
    "created_by_uuid": None,
}


_UNDATED: Mapping[str, Value] = dict.fromkeys(
    ("created_at", "updated_at", "resolved_at", "last_seen_at")
) | {"dedupe_count": 0}


def completed(held: Body) -> Body:
    """An alert with every key that its readers know, also where people have made the row with some of them only."""
    return {**_PLAIN, "metadata": {}, **_UNDATED, **held}


def raised(asked: Mapping[str, Value], at: str) -> Body:
    """A new alert of these fields."""
    told = {key: value for key, value in asked.items() if value is not None}
    return {
        **_PLAIN,
        "metadata": {},
        **told,
        "status": "active",
        "created_at": at,
        "updated_at": at,
        "resolved_at": None,
        "last_seen_at": at,
        "dedupe_count": 0,
    }


def folds(held: Body, new: Body) -> bool:
    """Whether `new` is once more what `held` says."""
    return held.get("status") == "active" and all(held.get(key) == new.get(key) for key in SAME)


def folded(held: Body, new: Body, at: str) -> Body:
    """The alert with one more occurrence; of metadata the newest stand."""
    count = held.get("dedupe_count")
    return held | {
        "metadata": _object(held.get("metadata")) | _object(new.get("metadata")),
        "dedupe_count": (count if isinstance(count, int) else 0) + 1,
        "last_seen_at": at,
        "updated_at": at,
    }


def changed(held: Body, fields: Mapping[str, Value], at: str) -> Body:
    """The alert with these fields; one that is over gets the time, one that is active again loses it."""
    after = held | dict(fields)
    if after == held:
        return held
    is_over = after.get("status") in OVER
    since = (held.get("resolved_at") or at) if is_over else None
    return after | {"updated_at": at, "resolved_at": since}


def amended(held: Body, metadata: Mapping[str, Value], description: str, at: str) -> Body:
    """The alert with these keys in its metadata; an empty description leaves the old one."""
    fields: Body = {"metadata": _object(held.get("metadata")) | dict(metadata)}
    if description:
        fields["description"] = description
    return changed(held, fields, at)


def over(held: Body, status: str, at: str) -> Body:
    """The alert, over; one that is over already stays as it is."""
    return held if held.get("status") in OVER else changed(held, {"status": status}, at)


def _object(value: Value) -> Body:
    return value if isinstance(value, dict) else {}
