"""Rows of models through the local API of a node and at the hub: many in one call, encryption off, commits with FULL."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.installation import Node, installation, sleeper

from bench import rig
from bench.figures import Figure
from skerry import sdk
from skerry.sdk import Repository

ROWS = 50_000
TARGET = 10_000.0
WORKER = "kitchen"


@sdk.model(strategy="merge", edge_enabled=True, fields={"cooked": "sum"})
@dataclasses.dataclass
class Recipe:
    """A shared row of about 110 bytes."""

    title: str
    servings: int = 2
    cooked: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    source: str | None = None
    id: str = ""


@sdk.model()
@dataclasses.dataclass
class Draft:
    """The same, kept on the node only."""

    title: str
    servings: int = 2
    cooked: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    source: str | None = None
    id: str = ""


async def run(place: Path) -> list[Figure]:
    """The node without a hub's work beside it, then the hub."""
    async with installation(place) as site:
        node = await rig.joined(site, "n1", site.hub.nodes_url, sleeper(WORKER))
        socket = str(node.directory / "run" / "w" / WORKER / "sock")
        local = await asyncio.to_thread(_rates, sdk.repository(Draft, socket=socket), Draft)
        shared = await asyncio.to_thread(_rates, sdk.repository(Recipe, socket=socket), Recipe)
        await rig.until(lambda: _sent(node), 0.2)
        token = (site.hub.directory / "admin.token").read_text().strip()
        at_hub = sdk.repository(Recipe, hub=site.hub.url, token=token, timeout=None)
        hub = await asyncio.to_thread(_rates, at_hub, Recipe)
    return [
        Figure(
            "entities",
            f"{what} {ROWS:,} rows, {where}",
            rate,
            "rows/s",
            target=TARGET if where != "at the hub" else None,
            better="higher",
            note=note,
        )
        for where, rates, note in (
            ("on the node, not shared", local, ""),
            ("on the node, shared", shared, "node and hub sync them on the same machine meanwhile"),
            ("at the hub", hub, "by HTTP over loopback"),
        )
        for what, rate in rates.items()
    ]


def _rates(rows: Repository[Any], cls: Callable[..., Any]) -> dict[str, float]:
    made = [cls(f"recipe {number}", tags=["soup", "quick"]) for number in range(ROWS)]
    rates: dict[str, float] = {}

    def measured(what: str, act: Callable[[], object]) -> None:
        begin = time.perf_counter()
        act()
        rates[what] = ROWS / (time.perf_counter() - begin)

    rows.declare()
    measured("create", lambda: rows.create_many(made))
    held = [dataclasses.replace(row, servings=4) for row in rows.each()]
    measured("update", lambda: rows.update_many(held))
    measured("read", lambda: sum(1 for _ in rows.each()))
    measured("delete", lambda: rows.delete_many([row.id for row in held]))
    return rates


async def _sent(node: Node) -> bool:
    status = await node.sync()
    return not any(lane.waiting for lane in status.lanes)
