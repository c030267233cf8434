"""Calibrations of a twin's joints: one of a leader, one of a follower, both in its row's `joint_calibration`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from skerry.core.merging.bodies import Body, Value, decoded
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import no_such, read, twin_in
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.wire.codec import encode

Robot = Literal["leader", "follower"]
Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]

_ROBOTS: tuple[Robot, ...] = ("follower", "leader")
_FIELD = "joint_calibration"


class JointCalibration(msgspec.Struct, frozen=True):
    """`JointCalibrationSchema` of SDK 0.7.4."""

    range_min: Number
    range_max: Number
    homing_offset: Number
    drive_mode: str
    id: str
    lower: Number | None = None
    upper: Number | None = None


class Calibration(msgspec.Struct, frozen=True):
    """The body of a POST, and of an answer."""

    joint_calibration: dict[str, JointCalibration]
    robot_type: Robot = "follower"


class Calibrations:
    """The route of a twin's calibrations."""

    def __init__(self, sources: Sources) -> None:
        self._twins = sources.twins

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        path = "/api/v1/twins/{twin}/calibration"
        app.router.add_get(path, self.get)
        app.router.add_post(path, self.put)
        app.router.add_delete(path, self.delete)

    async def get(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        held = _held(twin.body)
        for robot in _asked(request):
            if robot in held:
                return json_answer({_FIELD: held[robot], "robot_type": robot})
        raise no_such("calibration of twin", twin.uuid)

    async def put(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        told = await read(request, Calibration, "calibration")
        joints = decoded(encode(told.joint_calibration))

        def make(now: Body, _revision: int) -> Body:
            return now | {_FIELD: {**_held(now), told.robot_type: joints}}

        await self._twins.revise(twin.uuid, make)
        return json_answer({_FIELD: joints, "robot_type": told.robot_type})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        gone = _asked(request)

        def make(now: Body, _revision: int) -> Body:
            left: dict[str, Value] = {
                key: one for key, one in _held(now).items() if key not in gone
            }
            return now | {_FIELD: left or None}

        await self._twins.revise(twin.uuid, make)
        return web.Response(status=204)


def _held(twin: Body) -> Body:
    """By robot; one that says no robot is a follower's."""
    held = twin.get(_FIELD)
    if not isinstance(held, dict) or not held:
        return {}
    return held if held.keys() <= set(_ROBOTS) else {"follower": held}


def _asked(request: web.Request) -> tuple[Robot, ...]:
    """Whose is meant; nobody's: any."""
    query = request.query
    for robot in _ROBOTS:
        is_asked = query.get(f"is_{robot}", "").lower() in {"true", "1"}
        if query.get("robot_type") == robot or is_asked:
            return (robot,)
    return _ROBOTS
