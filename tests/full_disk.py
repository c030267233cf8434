"""What tests with full disks share: records that fill one soon, and a node that has sent all."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from tests.installation import Installation, Node

from skerry.kit.errors import StorageFull
from skerry.testing.waiting import eventually
from skerry.wire.records import Meta, PublishedRecord

PADDING: Meta = {f"text{n}": "x" * 1000 for n in range(8)}
"""Few records fill the disk, and many comparisons are quick."""


async def all_taken(node: Node) -> bool:
    lanes = (await node.sync()).lanes
    return not any(lane.waiting for lane in lanes if lane.lane != "state")


class Feeder:
    """Publishes 0, 1, 2, … in batches; `accepted` of them were."""

    def __init__(self, node: Node, name: str = "t.value") -> None:
        self._client = node.publisher("feeder")
        self._name = name
        self.accepted = 0

    async def publish(self, count: int) -> None:
        """Raises what the node answers."""
        first = self.accepted
        values = [
            PublishedRecord(self._name, value, value, PADDING)
            for value in range(first, first + count)
        ]
        await asyncio.to_thread(self._client.publish, "measurement", values, 30.0)
        self.accepted += count

    async def until_refused(self) -> str:
        """Why no more is accepted."""
        while True:
            try:
                await self.publish(50)
            except StorageFull as error:
                return str(error)

    async def works(self) -> bool:
        """Whether one more is accepted."""
        try:
            await self.publish(1)
        except StorageFull:
            return False
        return True


async def check_each_once(site: Installation, node: Node, count: int) -> None:
    await eventually(partial(all_taken, node), "the hub has taken everything")
    rows = Counter(row.value for row in await site.hub.rows("t.value"))
    assert rows == Counter(range(count))
