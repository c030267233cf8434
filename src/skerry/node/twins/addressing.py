"""To which topic an order's message goes, and what it says there: pure. What Cyberwave documents of each stands in docs/reference/cyberwave-topics.md."""

from __future__ import annotations

import datetime

import msgspec

from skerry.core.cyberwave.names import is_uuid
from skerry.core.merging.bodies import Body, decoded
from skerry.kit.clock import NS
from skerry.kit.errors import InvalidInput
from skerry.wire.devices import Action, Command

COMMAND = "command"

_STATUS_BY: dict[Action, str] = {
    "twin_navigate": "action_id",
    "twin_mission": "mission_execution_uuid",
}
"""By which field a driver's status says what it is about."""

_PARTS: dict[Action, str] = {
    "twin_command": COMMAND,
    "twin_navigate": "navigate/command",
    "twin_motion": "motion/command",
    "twin_mission": "mission/command",
    "run_workflow": "run",
    "cancel_workflow": "cancel",
}


class Addressed(msgspec.Struct, frozen=True):
    """A message and its topic, without the prefix. Either `twin` or `workflow` is empty.

    `name` is what is asked for, `status` the topic at which a driver says what becomes of it (empty: at none), of messages
    that have `about` as their field `about_by`.
    """

    topic: str
    message: Body
    name: str
    twin: str = ""
    workflow: str = ""
    status: str = ""
    about_by: str = ""
    about: str = ""

    @property
    def who(self) -> str:
        """To whom, for people."""
        return f"twin {self.twin}" if self.twin else f"workflow {self.workflow}"

    @property
    def nobody(self) -> str:
        """That nobody listens, for people."""
        if self.workflow:
            return "no worker listens to its runs"
        part = self.topic.partition(f"{self.twin}/")[2]
        return "no driver listens to its " + ("commands" if part == COMMAND else part)

    def is_answered_by(self, said: Body) -> bool:
        """Whether a status is about this."""
        return "status" in said and said.get(self.about_by) == self.about


def addressed(order: Command, now: int) -> Addressed:
    """Raises InvalidInput. `now` is ns since 1970."""
    given = decoded(bytes(order.payload))
    if order.action in {"run_workflow", "cancel_workflow"}:
        return _to_workflow(order, given, now)
    base = f"cyberwave/twin/{order.twin}"
    topic = f"{base}/{_PARTS[order.action]}"
    usual: Body = {"source_type": "tele", "timestamp": now / NS}
    if order.action == "twin_command":
        name = _command(order, given)
        return Addressed(topic, {"data": {}, **usual, **given}, name, order.twin)
    part = order.action.removeprefix("twin_")
    by = _STATUS_BY.get(order.action)
    if by is None:
        return Addressed(topic, {**usual, **given}, part, order.twin)
    about = given.get(by, order.id)
    if not isinstance(about, str) or not about:
        raise InvalidInput(f"cannot command twin {order.twin}: «{by}» is to be a text")
    return Addressed(
        topic, {**usual, **given, by: about}, part, order.twin,
        status=f"{base}/{part}/status", about_by=by, about=about,
    )  # fmt: skip


def _command(order: Command, given: Body) -> str:
    name = given.get("command")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"cannot command twin {order.twin}: the message names no «command»")
    if "status" in given:
        raise InvalidInput(
            f"cannot command twin {order.twin}: a message with «status» is an answer, which drivers do not obey"
        )
    return name


def _to_workflow(order: Command, given: Body, now: int) -> Addressed:
    """A run has a request and an execution of its own unless they are given: workers know by the latter what they have seen."""
    workflow = given.get("workflow_uuid")
    if not isinstance(workflow, str) or not is_uuid(workflow):
        raise InvalidInput(f"cannot {order.action}: the order names no «workflow_uuid»")
    asked = {name: value for name, value in given.items() if name != "workflow_uuid"}
    at = datetime.datetime.fromtimestamp(now / NS, datetime.UTC).isoformat()
    usual: Body = {"requested_at": at}
    if order.action == "run_workflow":
        request = order.request or order.id
        usual |= {"request_id": request, "execution_uuid": order.id, "inputs": {}, "params": {}}
    elif not isinstance(asked.get("execution_uuid"), str) or not asked["execution_uuid"]:
        raise InvalidInput(
            f"cannot cancel workflow {workflow}: the order names no «execution_uuid»"
        )
    topic = f"cyberwave/workflow/{workflow}/{_PARTS[order.action]}"
    return Addressed(topic, {**usual, **asked}, _PARTS[order.action], workflow=workflow)
