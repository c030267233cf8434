"""What people may order about twins, drivers and workers: pure. Their devices check the rest, which they alone know."""

from __future__ import annotations

from skerry.core.cyberwave.names import is_uuid
from skerry.core.merging.bodies import Body, decoded
from skerry.kit.errors import InvalidInput, TooLarge
from skerry.kit.one_line import one_line
from skerry.wire.devices import (
    ABOUT_A_TWIN,
    DRIVER_STARTS,
    EDGE_ORDERS,
    SAID_TO_DRIVERS,
    SAID_TO_WORKERS,
    TOPIC_ORDERS,
    EdgeAction,
    EdgeOrder,
)

ORDER_TTL = 60.0
"""Seconds for which one stands: a robot must not move hours later."""

LONGEST_TTL = 86_400.0
MAX_PAYLOAD = 64 * 1024
_SHOWN = 64


def check_order(device: str, asked: EdgeOrder, ttl: float) -> None:
    """Raises InvalidInput, TooLarge."""
    what = f"cannot order device «{one_line(device[:_SHOWN])}»"
    if not 1 <= ttl <= LONGEST_TTL:
        raise InvalidInput(f"{what}: an order stands for 1 to {LONGEST_TTL:.0f} seconds")
    payload = bytes(asked.payload)
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"{what}: a message has at most {MAX_PAYLOAD} bytes, this one {len(payload)}"
        )
    message = decoded(payload)
    if asked.action not in ABOUT_A_TWIN and asked.twin:
        raise InvalidInput(f"{what}: «{asked.action}» is not about one twin")
    if asked.action in ABOUT_A_TWIN and not is_uuid(asked.twin):
        raise InvalidInput(
            f"{what}: twin «{one_line(asked.twin)}» is no UUID, in lower case and with dashes"
        )
    if asked.action == "twin_command":
        _check_command(what, message)
    if asked.action in SAID_TO_WORKERS:
        _check_workflow(what, asked.action, message)


def needs(action: EdgeAction) -> tuple[str, str]:
    """Which capability an agent must have told to be ordered to, and what it takes with it, for people."""
    if action == "start_driver":
        return DRIVER_STARTS, f"orders to «{action}»"
    if action in (SAID_TO_DRIVERS | SAID_TO_WORKERS) - {"twin_command"}:
        return TOPIC_ORDERS, f"orders to «{action}»"
    return EDGE_ORDERS, "orders about twins"


def _check_command(what: str, message: Body) -> None:
    if not isinstance(message.get("command"), str) or not message["command"]:
        raise InvalidInput(f"{what}: a twin's command is a JSON object with «command», a text")
    if "status" in message:
        raise InvalidInput(
            f"{what}: a message with «status» is an answer, which drivers do not obey"
        )


def _check_workflow(what: str, action: EdgeAction, message: Body) -> None:
    workflow, execution = message.get("workflow_uuid"), message.get("execution_uuid")
    if not isinstance(workflow, str) or not is_uuid(workflow):
        raise InvalidInput(
            f"{what}: «workflow_uuid» is to be a workflow's UUID, in lower case and with dashes"
        )
    if not isinstance(execution or "", str) or (action == "cancel_workflow" and not execution):
        raise InvalidInput(f"{what}: «execution_uuid» is to be that of a run, a text")


def told_of(asked: EdgeOrder) -> str:
    """For the audit log: what, and to which twin, but not with which values."""
    if asked.action in SAID_TO_WORKERS:
        return f"{asked.action}, workflow {decoded(bytes(asked.payload)).get('workflow_uuid')}"
    if asked.action != "twin_command":
        return f"{asked.action}, twin {asked.twin}" if asked.twin else asked.action
    command = str(decoded(bytes(asked.payload)).get("command"))
    return f"twin {asked.twin}: {one_line(command[:_SHOWN])}"
