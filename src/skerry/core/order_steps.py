"""What a node does about an order of the hub's: pure. `node.orders` does it.

«started» is durable before anything is done. An order that cannot be repeated and was begun by an agent that is gone
ends as unknown, unless that agent had got so far that starting anew was all that was left.
"""

from __future__ import annotations

from typing import Literal

from skerry.wire.devices import ENDED, Action, Command, Outcome

Step = Literal["begin", "expire", "finish", "give up", "nothing"]

REPEATABLE: frozenset[Action] = frozenset(
    {
        "decommission",
        "start_driver",
        "restart_edge_core",
        "sync_workflows",
        "cancel_workflow",
        "remove_workflow_worker",
    }
)
"""Doing these twice is doing them once: of a restart of drivers, whoever does it knows the request."""

DRAINING, RESTARTING = "workloads end", "the agent starts anew"


def step_of(order: Command, told: Outcome | None, hub_time: int) -> Step:
    """What is to be done about `order`, which no task of this agent is at, when the hub's clock shows `hub_time`."""
    if told is None:
        return "expire" if hub_time > order.expires_at else "begin"
    if told.state in ENDED:
        return "nothing"
    if order.action in REPEATABLE:
        return "begin"
    return "finish" if told.step == RESTARTING else "give up"
