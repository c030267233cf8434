"""A node as the hub hears it: it pushes states, and pulls its orders."""

from __future__ import annotations

import msgspec
from msgspec import structs
from tests.hub_rig import HubRig, Lanes, PullingNode, node_info

from skerry.wire.codec import encode
from skerry.wire.devices import CommandState, Outcome
from skerry.wire.inventory import Inventory
from skerry.wire.sync import StateFrame, StateRow
from skerry.wire.workload import NodeInfo


class Speaking:
    """A node that pushes states."""

    def __init__(self, hub: HubRig, node_id: str) -> None:
        self.hub, self.node_id, self.lanes = hub, node_id, Lanes()
        self.pulling = PullingNode(hub, node_id)

    async def tell(self, *rows: StateRow) -> None:
        await self.hub.push(self.node_id, self.lanes.unit("state", [StateFrame(list(rows))]))

    async def orders(self) -> list[str]:
        await self.pulling.pull()
        return [row_id for entity, row_id in self.pulling.rows if entity == "command"]

    async def answer(self, order: str, state: CommandState, reply: str = "", **left: int) -> None:
        body = Outcome(order, state, self.hub.clock.wall_ns(), left=left, reply=reply)
        now = self.hub.clock.wall_ns() // 1_000_000 << 16
        await self.tell(StateRow("outcome", order, 0, now, "n", body=msgspec.Raw(encode(body))))


def info(node_id: str, hlc: int, inventory: Inventory) -> StateRow:
    row = node_info(node_id, hlc=hlc)
    told = msgspec.json.decode(row.body, type=NodeInfo)
    body = msgspec.Raw(encode(structs.replace(told, inventory=inventory)))
    return structs.replace(row, body=body)
