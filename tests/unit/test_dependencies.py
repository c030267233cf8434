"""A route's features cost no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from litestar import Litestar, Router, get
from litestar.di import NamedDependency, Provide

from skerry.hub.api.dependencies import give, given, resolve_one_by_one


@get("/sum")
async def total(one: NamedDependency[int], two: NamedDependency[int]) -> int:
    """Both."""
    return one + two


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_a_request_makes_no_tasks_for_what_its_route_is_given(one_by_one: bool) -> None:
    app = Litestar(
        [total],
        dependencies={"one": given(1), "two": given(2)},
        openapi_config=None,
        logging_config=None,
    )
    if one_by_one:
        resolve_one_by_one(app)
    made = 0

    def count(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **named: Any
    ) -> asyncio.Task[Any]:
        nonlocal made
        made += 1
        return asyncio.Task(work, loop=loop, **named)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(count)
    try:
        body = await _answer(app, "/sum")
    finally:
        loop.set_task_factory(None)
    assert body == b"3"
    assert (made == 0) is one_by_one


async def _doubled(two: NamedDependency[int]) -> int:
    return 2 * two


@get("/made")
async def made_of_another(doubled: NamedDependency[int]) -> int:
    """What another dependency makes of a feature."""
    return doubled


async def test_a_router_is_given_what_its_routes_and_their_dependencies_ask_for() -> None:
    first = Router("/", route_handlers=[total])
    second = Router(
        "/", route_handlers=[made_of_another], dependencies={"doubled": Provide(_doubled)}
    )
    give([first, second], {"one": 1, "two": 2, "three": 3})
    assert first.dependencies.keys() == {"one", "two"}
    assert second.dependencies.keys() == {"doubled", "two"}
    app = Litestar([first, second], openapi_config=None, logging_config=None)
    assert await _answer(app, "/sum") == b"3"
    assert await _answer(app, "/made") == b"4"


async def _answer(app: Litestar, path: str) -> bytes:
    scope: Any = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}, "extensions": {},
    }  # fmt: skip
    parts: list[bytes] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)
