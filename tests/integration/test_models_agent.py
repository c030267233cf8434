"""A whole node, killed and started again, whose workload keeps rows of a model; nobody else's socket has them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from tests.installation import Node, installation, sleeper

from skerry import sdk
from skerry.kit.errors import NotFound
from skerry.sdk.entity_doors import NodeDoor
from skerry.testing.waiting import eventually


@sdk.model(edge_enabled=True)
@dataclasses.dataclass
class Recipe:
    title: str
    id: str = ""


def door(node: Node, name: str) -> str:
    return str(node.directory / "run" / name)


@pytest.mark.timeout(90)
async def test_rows_outlive_the_agent_and_reach_the_hub(short_dir: Path) -> None:
    async with installation(short_dir) as site:
        node = await site.started(sleeper("kitchen"))
        recipes = sdk.repository(Recipe, socket=door(node, "w/kitchen/sock"))
        made = await asyncio.to_thread(recipes.create, Recipe("soup"))
        await node.kill()
        waiting = asyncio.create_task(asyncio.to_thread(recipes.create, Recipe("bread")))
        await node.start()
        await node.ready()
        bread = await waiting
        assert {row.id for row in await asyncio.to_thread(recipes.list)} == {made.id, bread.id}
        with pytest.raises(NotFound):
            await asyncio.to_thread(
                NodeDoor(door(node, "admin.sock"), 5.0).ask,
                "GET",
                "recipe",
                "/conflicts",
                lambda _: None,
            )
        token = (site.hub.directory / "admin.token").read_text().strip()
        hub = sdk.repository(Recipe, hub=site.hub.url, token=token)

        async def there() -> bool:
            return await asyncio.to_thread(hub.count) == 2

        await eventually(there, "the hub has both")
