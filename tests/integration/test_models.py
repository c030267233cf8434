"""Rows of models: `skerry.sdk.model` against a real node and a real hub."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from tests.entity_rig import model_fleet

from skerry import sdk
from skerry.testing.waiting import eventually


@sdk.model(strategy="merge", edge_enabled=True, fields={"cooked": "sum"})
@dataclasses.dataclass
class Recipe:
    title: str
    servings: int = 2
    cooked: int = 0
    id: str = ""


async def test_a_row_made_on_a_node_is_read_at_the_hub(short_dir: Path) -> None:
    async with model_fleet(short_dir) as found:
        recipes = found.nodes[0].of(Recipe)
        made = await asyncio.to_thread(recipes.create, Recipe("soup"))
        assert made.id
        assert made == await asyncio.to_thread(recipes.read, made.id)

        async def synced() -> bool:
            return (await asyncio.to_thread(recipes.info, made.id)).status == "synced"

        await eventually(synced, "the hub has the row")
        at_hub = await asyncio.to_thread(found.at_hub(Recipe).read, made.id)
        assert at_hub == made
