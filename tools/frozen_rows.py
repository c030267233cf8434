"""Shared rows of the run that `freeze_data_dir` freezes: programs and people edit the same rows, and not all of it is settled.

What a later version must find: accepted rows, a tombstone, an edit that lost, one that waits for a person, a frozen frame
that nobody has answered, an edit made after it, edits that wait for the hub, rows that stay on the node, lines of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tests.installation import Hub, Installation, Node

from skerry import sdk
from skerry.cli.http import node_api
from skerry.node.sync.pace import CONFLICT
from skerry.sdk import Repository
from skerry.testing.waiting import eventually
from skerry.wire.rounds import SyncLogPage
from skerry.wire.rows import ConflictView, Resolve, RowList, RowPut, RowVersion, RowWritten

WORKLOAD = "camera"
"""Whose program keeps the rows."""


@sdk.model(strategy="merge", edge_enabled=True, fields={"n": "sum"}, priority="high")
@dataclass
class Stock:
    """Whose numbers add up."""

    id: str = ""
    n: int = 0
    note: str = ""


@sdk.model(strategy="manual", edge_enabled=True)
@dataclass
class Recipe:
    """Whose conflicts wait for a person."""

    id: str = ""
    minutes: int = 0


@sdk.model(edge_enabled=True)
@dataclass
class Card:
    """Of which the later version stands."""

    id: str = ""
    text: str = ""


@sdk.model()
@dataclass
class Draft:
    """Which stays on the node."""

    id: str = ""
    text: str = ""


MET = 3
"""Edits of the node that met others."""

NAMES = ("stock", "recipe", "card")

Rows = dict[str, list[Any]]
"""Bodies with their ids, by entity."""


def of_node(node: Node, model: type[Any]) -> Repository[Any]:
    """As the workload's program has it."""
    return sdk.repository(model, socket=str(node.directory / "run" / "w" / WORKLOAD / "sock"))


async def settle_first(site: Installation, node: Node) -> None:
    """Rows that both have, before the hub goes away."""

    def work() -> None:
        of_node(node, Stock).create_many([Stock("s1", 1), Stock("s2", 5, "shelf")])
        of_node(node, Recipe).create_many([Recipe("r1", 10), Recipe("r2", 20)])
        cards = [Card("c1", "first"), Card("c2", "second"), Card("c3", "goes away")]
        of_node(node, Card).create_many(cards)
        of_node(node, Draft).create(Draft("d1", "nobody else has this"))

    await asyncio.to_thread(work)
    await eventually(lambda: all_sent(site, node), "the hub has the rows", 60)


async def part(site: Installation, node: Node) -> None:
    """While the hub is away for the node, both sides edit the same rows; at the hub later."""

    def work() -> None:
        _change(of_node(node, Stock), "s1", n=4)
        _change(of_node(node, Recipe), "r1", minutes=11)
        _change(of_node(node, Card), "c1", text="by the node")

    await asyncio.to_thread(work)
    aside = Hub(site.directory, "aside")
    await aside.start()
    await _put(aside, "stock", "s1", {"n": 11, "note": ""})
    await _put(aside, "recipe", "r1", {"minutes": 12})
    await _put(aside, "card", "c1", {"text": "by a person"})
    async with aside.api() as api:
        await api.order("DELETE", "/api/v1/entities/card/rows/c3")
    await aside.process.end(signal.SIGTERM)


async def meet(site: Installation, node: Node) -> None:
    """Both are connected again: what met is judged."""
    await eventually(lambda: all_sent(site, node), "the edits are judged", 60)
    await eventually(lambda: in_conflict(node), "the node knows of the conflict", 60)
    await eventually(lambda: site.hub.has(CONFLICT, MET), "the hub has the events of all", 60)


async def leave_frozen(site: Installation, node: Node) -> None:
    """The hub ends before it answers the last frame; what follows waits."""
    site.hub.process.send(signal.SIGSTOP)
    await asyncio.to_thread(_change, of_node(node, Stock), "s2", n=7)
    await eventually(lambda: _frames(node.directory) > 0, "a frame is frozen", 60)
    await site.hub.kill()

    def work() -> None:
        _change(of_node(node, Stock), "s2", n=8)
        of_node(node, Card).create(Card("c4", "waits"))
        of_node(node, Card).delete("c2")
        of_node(node, Draft).create(Draft("d2", "written without a hub"))

    await asyncio.to_thread(work)
    await eventually(lambda: _frames(node.directory) > 0, "the frame is still there")


async def facts(node: Node, arrived: Rows) -> dict[str, Any]:
    """What must be found again; `arrived` is what the hub had when it ended."""
    after = {name: [each for each in rows if each[0] != "c2"] for name, rows in arrived.items()}
    after["stock"] = [
        ["s2", {"n": 8, "note": "shelf"}] if e[0] == "s2" else e for e in after["stock"]
    ]
    after["card"].append(["c4", {"text": "waits"}])
    return {
        "at_hub": arrived,
        "on_node": await on_node(node),
        "after": after,
        "log": await log_lines(node),
    }


async def at_hub(hub: Hub) -> Rows:
    """The rows of all shared models."""
    found: Rows = {}
    async with hub.api() as api:
        for entity in NAMES:
            page = await api.get(f"/api/v1/entities/{entity}/rows", RowList)
            found[entity] = [[row.id, msgspec.json.decode(row.body)] for row in page.rows]
    return found


async def on_node(node: Node) -> Rows:
    """All rows, as the program reads them."""

    def work() -> Rows:
        models = {"stock": Stock, "recipe": Recipe, "card": Card, "draft": Draft}
        found = {name: list(of_node(node, model).list()) for name, model in models.items()}
        return {name: [vars_of(row) for row in rows] for name, rows in found.items()}

    return await asyncio.to_thread(work)


def vars_of(row: object) -> list[Any]:
    """A row's id and its other fields."""
    fields = dict(msgspec.to_builtins(row))
    return [fields.pop("id"), fields]


async def history(hub: Hub) -> list[list[Any]]:
    """What one card was, and the edit of it that lost."""
    async with hub.api() as api:
        found = await api.get("/api/v1/entities/card/rows/c1/history", list[RowVersion])
    return [[each.state, each.by, msgspec.json.decode(each.body)] for each in found]


async def waiting(hub: Hub) -> list[list[str]]:
    """The edits that wait for a person."""
    async with hub.api() as api:
        found = await api.get("/api/v1/conflicts", list[ConflictView])
    return [[each.entity, each.id, each.node] for each in found]


async def log_lines(node: Node) -> list[list[str]]:
    """What the log says of rows that met others."""
    async with node_api(node.directory) as api:
        page = await api.get("/v1/sync/log?limit=1000", SyncLogPage)
    return [
        [each.operation, each.kind, each.name, each.status]
        for each in page.entries
        if each.operation == "conflict"
    ]


async def all_sent(site: Installation, node: Node) -> bool:
    """Whether hub and node have the same shared rows, and nothing of the node's waits."""
    unsent = [each.waiting for each in (await node.sync()).entities]
    rows = await on_node(node)
    return not any(unsent) and await at_hub(site.hub) == {name: rows[name] for name in NAMES}


async def in_conflict(node: Node) -> bool:
    """Whether an edit of the node waits, as far as it knows."""
    return bool(await asyncio.to_thread(lambda: list(of_node(node, Recipe).conflicts())))


async def decide(hub: Hub) -> None:
    """A person takes what the node has said of the recipe that waits."""
    async with hub.api() as api:
        await api.send("POST", "/api/v1/conflicts/recipe/r1/resolve", Resolve("node"), RowWritten)


async def _put(hub: Hub, entity: str, row_id: str, body: object) -> None:
    put = RowPut(msgspec.Raw(msgspec.json.encode(body)))
    async with hub.api() as api:
        await api.send("PUT", f"/api/v1/entities/{entity}/rows/{row_id}", put, RowWritten)


def _change(rows: Repository[Any], row_id: str, **fields: object) -> None:
    found = rows.read(row_id)
    for name, value in fields.items():
        setattr(found, name, value)
    rows.update(found)


def _frames(directory: Path) -> int:
    with contextlib.closing(
        sqlite3.connect(f"file:{directory / 'node.db'}?mode=ro", uri=True)
    ) as db:
        return int(db.execute("SELECT count(*) FROM shared_frame").fetchone()[0])
