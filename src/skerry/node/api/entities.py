"""A workload's socket for rows of models: `/v1/entities/{entity}/…`. Loaded with the first request of any workload.

See `wire.entities`; `store.entity_rows` answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from skerry.kit.errors import NotFound, Refused
from skerry.kit.one_line import one_line
from skerry.node.api import web
from skerry.node.api.answers import json_answer
from skerry.wire.codec import decode
from skerry.wire.entities import (
    Changes,
    ChangesMade,
    Count,
    Declare,
    Declared,
    Find,
    Found,
    WaitingEdits,
)


class Entities(Protocol):
    """The rows of models on this node."""

    def is_the_nodes_own(self, entity: str) -> bool:
        """Whether no workload may use it."""
        ...

    async def declare(self, entity: str, asked: Declare) -> Declared:
        """Raises InvalidInput when it is declared otherwise."""
        ...

    async def change(self, entity: str, asked: Changes) -> ChangesMade:
        """Raises InvalidInput, NotFound or Refused."""
        ...

    async def find(self, entity: str, asked: Find) -> Found: ...

    async def count(self, entity: str, asked: Find) -> Count: ...

    async def waiting(self, entity: str) -> WaitingEdits: ...


async def answer_entities(entities: Entities, request: web.Request) -> web.Response:
    """PUT …/{entity}; POST …/{entity}/changes, /find, /count; GET …/{entity}/conflicts."""
    entity, what = request.match_info["entity"], request.match_info.get("what", "")
    if entities.is_the_nodes_own(entity):
        raise Refused(
            f"cannot use entity «{entity}»: twins and what belongs to them are this device's own. Its drivers and workers "
            "reach theirs at CYBERWAVE_BASE_URL."
        )
    body = await request.read()

    async def declare() -> object:
        return await entities.declare(entity, decode(body, Declare, "declaration"))

    async def change() -> object:
        return await entities.change(entity, decode(body, Changes, "changes of rows"))

    async def find() -> object:
        return await entities.find(entity, decode(body, Find, "search for rows"))

    async def count() -> object:
        return await entities.count(entity, decode(body, Find, "search for rows"))

    async def conflicts() -> object:
        return await entities.waiting(entity)

    routes: dict[tuple[str, str], Callable[[], Awaitable[object]]] = {
        ("PUT", ""): declare,
        ("POST", "changes"): change,
        ("POST", "find"): find,
        ("POST", "count"): count,
        ("GET", "conflicts"): conflicts,
    }
    act = routes.get((request.method, what))
    if act is None:
        raise NotFound(f"cannot {request.method} {one_line(request.path)}: there is no such route")
    return json_answer(await act())
