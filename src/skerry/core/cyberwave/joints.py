"""Joints as drivers tell of them: in the payloads of MQTT, and in a twin's row. Pure."""

from __future__ import annotations

import msgspec

from skerry.core.merging.amounts import is_number
from skerry.core.merging.bodies import Body, Value

_FIELDS = ("position", "velocity", "effort")
_MANY = ("positions", "velocities", "efforts")
_NO_JOINTS = frozenset(("timestamp", "sequence", "seq"))


class JointState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A joint as it was last told of."""

    position: float | None = None
    velocity: float | None = None
    effort: float | None = None


def state_of(told: Value) -> JointState | None:
    """Of one joint: a number, or an object of numbers. None: it is neither."""
    fields = told if isinstance(told, dict) else {"position": told}
    numbers = {name: _number(fields.get(name)) for name in _FIELDS}
    return None if set(numbers.values()) == {None} else JointState(**numbers)


def states_of(told: Value) -> dict[str, JointState]:
    """Of a row's `joint_states`."""
    states = {name: state_of(one) for name, one in _object(told).items()}
    return {name: state for name, state in states.items() if state is not None}


def states_in(payload: Body) -> dict[str, JointState]:
    """Of a message on `…/joint/<twin>/update`: one joint, lists of values by joint, or a number for each. Targets are no states."""
    name = payload.get("joint_name")
    if isinstance(name, str):
        state = state_of(payload.get("joint_state"))
        return {} if state is None else {name: state}
    if any(isinstance(payload.get(key), dict) for key in _MANY):
        told = dict(zip(_FIELDS, (_object(payload.get(key)) for key in _MANY), strict=True))
        names = {joint for values in told.values() for joint in values}
        return states_of(
            {joint: {field: told[field].get(joint) for field in _FIELDS} for joint in names}
        )
    return states_of({name: one for name, one in payload.items() if _is_flat(name, one)})


def _is_flat(name: str, told: Value) -> bool:
    return name not in _NO_JOINTS and _number(told) is not None


def _number(told: Value) -> float | None:
    return told if isinstance(told, int | float) and is_number(told) else None


def _object(told: Value) -> Body:
    return told if isinstance(told, dict) else {}
