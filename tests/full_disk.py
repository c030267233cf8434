"""What tests with full disks share: records that fill one soon, and a node that has sent all."""

from __future__ import annotations

from tests.installation import Node

from skerry.wire.records import Meta

PADDING: Meta = {f"text{n}": "x" * 1000 for n in range(8)}
"""Few records fill the disk, and many comparisons are quick."""


async def all_taken(node: Node) -> bool:
    lanes = (await node.sync()).lanes
    return not any(lane.waiting for lane in lanes if lane.lane != "state")
