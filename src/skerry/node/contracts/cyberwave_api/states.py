"""Joints and pictures: what was written here, and over it what passed the node last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from skerry.core.cyberwave.joints import JointState, states_of
from skerry.core.merging.amounts import is_number
from skerry.core.merging.bodies import Body, Value, decoded
from skerry.kit.clock import Clock, iso
from skerry.kit.errors import InvalidInput, NotFound
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.node.contracts.cyberwave_api.asking import body_in, named, no_such, read, twin_in
from skerry.node.contracts.cyberwave_api.sources import Sources
from skerry.node.twins.rows import Twin
from skerry.wire.codec import encode

_MOST_JOINTS = 256

Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class JointEdit(msgspec.Struct, frozen=True):
    """The body of a PUT of one joint: `JointStateUpdateSchema` of SDK 0.7.4."""

    position: Number | None = None
    velocity: Number | None = None
    effort: Number | None = None
    as_home_position: bool = False


class States:
    """The routes of joints and pictures, below a twin's."""

    def __init__(self, sources: Sources) -> None:
        self._twins = sources.twins
        self._seen = sources.seen
        self._clock: Clock = sources.clock

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        one = "/api/v1/twins/{twin}"
        app.router.add_get(f"{one}/joint_states", self.joints)
        app.router.add_put(f"{one}/joint_states", self.put_joints)
        app.router.add_get(f"{one}/joints/{{joint}}/state", self.joint)
        app.router.add_put(f"{one}/joints/{{joint}}/state", self.put_joint)
        app.router.add_get(f"{one}/latest-frame", self.frame)

    async def joints(self, request: web.Request) -> web.StreamResponse:
        return json_answer(self._shown(await self._known(twin_in(request, self._twins))))

    async def joint(self, request: web.Request) -> web.StreamResponse:
        known = await self._known(twin_in(request, self._twins))
        name = named(request, "joint")
        if name not in known:
            raise no_such("joint", name)
        return json_answer(_one(name, known[name]))

    async def put_joints(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        body = await body_in(request)
        _check_no_home(body.get("as_home_position") is True)
        states = body.get("joint_states")
        if not isinstance(states, dict):
            raise InvalidInput("cannot take joints: «joint_states» is no object")
        told = {name: _written(name, state) for name, state in states.items()}
        return json_answer(self._shown(await self._put(twin, told)))

    async def put_joint(self, request: web.Request) -> web.StreamResponse:
        twin = twin_in(request, self._twins)
        edit = await read(request, JointEdit, "state of a joint")
        _check_no_home(edit.as_home_position)
        name = named(request, "joint")
        state = decoded(encode(JointState(edit.position, edit.velocity, edit.effort)))
        known = await self._put(twin, {name: state})
        return json_answer(_one(name, known[name]))

    async def frame(self, request: web.Request) -> web.StreamResponse:
        """Only real pictures: neither simulated ones nor those made for a policy come by here."""
        twin = twin_in(request, self._twins)
        query = request.query
        made_up = query.get("mock") == "true" or query.get("source_type") == "sim"
        frame = None
        if not made_up and "frame_bucket" not in query:
            frame = await self._seen.frame(twin.uuid, query.get("sensor_id", ""))
        if frame is None:
            raise NotFound(f"cannot show a picture of twin {twin.uuid}: none has passed the node")
        headers = {"X-Frame-Generation": str(frame.generation), "Cache-Control": "no-store"}
        return web.Response(body=frame.data, content_type=frame.content_type, headers=headers)

    async def _put(self, twin: Twin, states: Mapping[str, Body]) -> dict[str, JointState]:
        def make(now: Body, _revision: int) -> Body:
            held = now.get("joint_states")
            joints: Body = dict(held) if isinstance(held, dict) else {}
            for name, state in states.items():
                before = joints.get(name)
                joints[name] = (before if isinstance(before, dict) else {}) | state
            if len(joints) > _MOST_JOINTS:
                raise InvalidInput(f"cannot take joints: a twin has at most {_MOST_JOINTS}")
            return now | {"joint_states": joints}

        return states_of((await self._twins.revise(twin.uuid, make)).body.get("joint_states"))

    async def _known(self, twin: Twin) -> dict[str, JointState]:
        return states_of(twin.body.get("joint_states")) | dict(await self._seen.joints(twin.uuid))

    def _shown(self, joints: Mapping[str, JointState]) -> Body:
        """As ROS says it: velocities and efforts only when all joints have one."""
        known = {name: one for name, one in sorted(joints.items()) if one.position is not None}
        names = list(known)
        answer: Body = {
            "header": {"stamp": iso(self._clock.wall_ns()), "frame_id": ""},
            "name": list[Value](names),
            "position": [known[name].position for name in names],
            "position_source": ["state" for _ in names],
        }
        for field in ("velocity", "effort"):
            values: list[Value] = [getattr(known[name], field) for name in names]
            answer[field] = [] if None in values else values
        return answer


def _written(name: str, state: Value) -> Body:
    told: Body = state if isinstance(state, dict) else {"position": state}
    known = {
        key: told[key] for key in ("position", "velocity", "effort") if told.get(key) is not None
    }
    if not known or not all(map(is_number, known.values())):
        raise InvalidInput(
            f"cannot take joint «{name[:80]}»: its position, velocity or effort is no number"
        )
    return known


def _one(name: str, state: JointState) -> Body:
    return {
        "name": name,
        "position": state.position,
        "velocity": state.velocity,
        "effort": state.effort,
    }


def _check_no_home(asked: bool) -> None:  # noqa: FBT001 - what was asked
    if asked:
        raise InvalidInput("cannot set a home position: it belongs to the asset. Set it at the hub")
