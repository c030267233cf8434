"""What a driver has changed in its twin's file, and what becomes of the file when the twin has changed: pure.

Only the documented fields are a driver's to edit. Of objects only the keys that it changed go up, so that somebody
else's change of another key stays; a key that it removed comes back with the next refresh.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

import msgspec

from skerry.core.cyberwave import schemas
from skerry.core.cyberwave.names import is_uuid
from skerry.core.merging.amounts import is_number
from skerry.core.merging.bodies import Body, Value, decoded, encoded
from skerry.kit.errors import InvalidInput

PEOPLES: tuple[tuple[str, ...], ...] = (
    ("metadata", "edge_fingerprint"),
    ("metadata", "edge_configs", "edge_fingerprint"),
    ("metadata", "drivers"),
    ("attach_to_twin_uuid",),
    ("metadata", "attach_to_twin_uuid"),
)
"""Which device serves a twin, what runs there for it, and whose driver serves it: a driver that could say that could have
anything run, or have another twin's driver serve its own."""


class Edit(msgspec.Struct, frozen=True):
    """What goes up: the fields with their new values, of objects only the keys that changed. `left_out` is not a driver's to change."""

    patch: Body
    left_out: tuple[str, ...] = ()


def edit_of(now: Body, known: Sequence[Body]) -> Edit:
    """What a driver has made of its file, which was one of the `known` texts. Raises InvalidInput for a wrong type."""
    patch: Body = {}
    for field, check in _FIELDS.items():
        if field not in now:
            continue
        changed = _changed(now[field], [one[field] for one in known if field in one])
        if isinstance(changed, _Nothing):
            continue
        if fault := check(now[field]):
            raise InvalidInput(f"its field «{field}» {fault}")
        patch[field] = changed
    left_out = tuple(".".join(path) for path in PEOPLES if _take_out(patch, path))
    return Edit(patch, left_out)


def view_of(uuid: str, row: Body, asset: Body | None) -> Body:
    """A twin as its file shows it: complete, and with its asset where that is known."""
    told = schemas.completed(schemas.TWIN, uuid, row)
    if asset is not None:
        told["asset"] = schemas.completed(schemas.ASSET, str(row.get("asset_uuid", "")), asset)
    return decoded(msgspec.json.encode(told))


def refreshed(file: Body, was: Body, now: Body) -> Body:
    """The file's content when its twin, which was `was` at the last time, is `now`. What only the file has stays in it."""
    merged: Body = {}
    for key, value in now.items():
        held, before = file.get(key), was.get(key)
        if isinstance(value, dict) and isinstance(held, dict):
            merged[key] = refreshed(held, before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged | {key: file[key] for key in file if key not in now and key not in was}


def text_of(content: Body) -> bytes:
    """The file, for people to read, too."""
    return msgspec.json.format(encoded(content), indent=2) + b"\n"


class _Nothing(enum.Enum):
    NOTHING = enum.auto()


def _changed(now: Value, known: Sequence[Value]) -> Value | _Nothing:
    """What is new in a value that was one of these; of an object the keys that are new in it."""
    if any(_equal(now, one) for one in known):
        return _Nothing.NOTHING
    objects = [one for one in known if isinstance(one, dict)]
    if not isinstance(now, dict) or not objects:
        return now
    found: Body = {}
    for key, value in now.items():
        changed = _changed(value, [one[key] for one in objects if key in one])
        if not isinstance(changed, _Nothing):
            found[key] = changed
    return found or _Nothing.NOTHING


def _equal(one: Value, other: Value) -> bool:
    """Numbers by their value: another program may write 1.0 as 1."""
    if is_number(one) and is_number(other):
        return one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and one == other


def _take_out(patch: Body, path: tuple[str, ...]) -> bool:
    """Takes what lies at the path out of the patch, and what is empty then."""
    first, *rest = path
    if first not in patch:
        return False
    inner = patch[first]
    if not rest:
        del patch[first]
        return True
    if not isinstance(inner, dict) or not _take_out(inner, tuple(rest)):
        return False
    if not inner:
        del patch[first]
    return True


def _text(value: Value) -> str:
    return "" if isinstance(value, str) else "is not a text"


def _number(value: Value) -> str:
    return "" if is_number(value) else "is not a number"


def _flag(value: Value) -> str:
    return "" if isinstance(value, bool) else "is neither true nor false"


def _object(value: Value) -> str:
    return "" if isinstance(value, dict) else "is not an object"


def _uuid(value: Value) -> str:
    return "" if isinstance(value, str) and is_uuid(value) else "is not a UUID"


def _or_null(check: Callable[[Value], str]) -> Callable[[Value], str]:
    return lambda value: "" if value is None else check(value)


_FIELDS: Mapping[str, Callable[[Value], str]] = {
    "name": _text,
    "description": _text,
    **{f"{place}_{axis}": _number for place in ("position", "scale") for axis in "xyz"},
    **{f"rotation_{axis}": _number for axis in "wxyz"},
    "kinematics_override": _or_null(_object),
    "joint_calibration": _or_null(_object),
    "metadata": _object,
    "controller_policy_uuid": _or_null(_uuid),
    "attach_to_twin_uuid": _or_null(_uuid),
    "attach_to_link": _or_null(_text),
    **{f"attach_offset_{axis}": _number for axis in "xyz"},
    **{f"attach_offset_rotation_{axis}": _number for axis in "wxyz"},
    "fixed_base": _flag,
}
"""The fields that a driver may edit, with what is wrong about a value."""

NULLABLE = frozenset(field for field, check in _FIELDS.items() if not check(None))
"""Those that may be null: that they are not set."""
