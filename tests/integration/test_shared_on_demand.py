"""A node that stands alone shares rows all the same: they wait for a hub, over restarts."""

import random
from pathlib import Path

import aiohttp
from msgspec import Raw
from tests.lone_node import parts

from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.node.host import Host
from skerry.node.store.opening import opened
from skerry.wire.entities import Change, Changes, Declare, Find
from skerry.wire.shared import Declaration

NAME = "recipe"


async def test_rows_wait_for_a_hub_over_restarts(memory_dir: Path) -> None:
    host = Host(SystemClock(), RealDisk(), random.Random(7))
    async with aiohttp.ClientSession() as session:
        async with opened(memory_dir, "", host.clock, host.disk) as store:
            shared, _ = parts(memory_dir, store, host, session)
            await shared.restore()
            assert shared.loaded is None
            rows = await shared.entities()
            await rows.declare(NAME, Declare(Declaration(priority="low")))
            await rows.change(NAME, Changes([Change("put", "a", Raw(b"{}"))]))
        async with opened(memory_dir, "", host.clock, host.disk) as store:
            shared, sync = parts(memory_dir, store, host, session)
            await shared.restore()
            assert shared.loaded is not None
            [row] = (await (await shared.entities()).find(NAME, Find())).rows
            assert row.status == "pending"
            assert await shared.loaded.frames.unsent("rows-low") == 1
            assert "rows-low" in await sync.acknowledged()
