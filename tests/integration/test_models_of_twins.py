"""What twins say decides what runs on a device: no workload's program reads or writes it by its own socket."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest
from tests.entity_rig import ModelNode, model_fleet
from tests.twin_bodies import DEVICE, ENTITY, ENVIRONMENT

from skerry import sdk
from skerry.kit.clock import SystemClock
from skerry.kit.errors import Refused
from skerry.node.twins.rows import TwinStore


@dataclasses.dataclass
class Body:
    name: str
    id: str = ""


def model(name: str) -> type[Body]:
    made: type[Body] = dataclasses.make_dataclass(name, [], bases=(Body,))
    return sdk.model(name=name, edge_enabled=True)(made)


OWN = [
    ENTITY,
    *(f"{kind}_{ENTITY.partition('_')[2]}" for kind in ("alerts", "presence", "workflows")),
]


async def use(node: ModelNode, name: str) -> None:
    """A program declares the entity, writes and reads."""
    kind = model(name)
    made = await asyncio.to_thread(lambda: node.of(kind).create(kind("evil")))
    assert await asyncio.to_thread(lambda: node.of(kind).read(made.id)) == made


@pytest.mark.guarantee("G9")
async def test_no_workload_uses_them(short_dir: Path) -> None:
    async with model_fleet(short_dir) as site:
        [node] = site.nodes
        for name in OWN:
            with pytest.raises(Refused, match="this device's own"):
                await use(node, name)
        rows, entities = node.node.rows, node.node.program.entities
        assert not entities.is_the_nodes_own("assets")  # of a fleet without twins
        await TwinStore(rows, entities, ENVIRONMENT, DEVICE, SystemClock()).open()
        for name in (*OWN, "assets", "environments"):
            with pytest.raises(Refused, match="this device's own"):
                await use(node, name)
        await use(node, "recipe")
