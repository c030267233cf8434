"""The registry of synced state entities: who may write them, and who wins a conflict.

A new entity is one line here; what a strategy means stands in `incoming_wins`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.sync import StateRow

Strategy = Literal["last_modified", "central_wins"]
Writer = Literal["hub", "node", "both"]


class Entity(msgspec.Struct, frozen=True):
    """One kind of synced state."""

    name: str
    writer: Writer
    strategy: Strategy


ENTITIES = {
    entity.name: entity
    for entity in (
        Entity("assignment", writer="hub", strategy="central_wins"),  # id: workload name
        Entity("status", writer="node", strategy="last_modified"),  # id: workload name
        Entity("node", writer="node", strategy="last_modified"),  # id: node id
        Entity("command", writer="hub", strategy="central_wins"),  # id: the order's
        Entity("outcome", writer="node", strategy="last_modified"),  # id: the order's
    )
}


def node_may_write(entity: str) -> bool:
    """Whether a node's push of this entity is accepted at all."""
    known = ENTITIES.get(entity)
    return known is not None and known.writer != "hub"


def incoming_wins(held: StateRow | None, incoming: StateRow) -> bool:
    """Whether the hub takes `incoming` over `held`.

    An edit based on the held revision always wins: there is no conflict. Otherwise the entity's strategy
    decides; equal clocks fall to the greater origin so that every side decides alike.
    """
    if held is None or incoming.rev == held.rev:
        return True
    match ENTITIES[incoming.entity].strategy:
        case "central_wins":
            return False
        case "last_modified":
            return (incoming.hlc, incoming.origin) > (held.hlc, held.origin)
