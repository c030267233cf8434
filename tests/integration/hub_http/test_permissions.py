"""Who may use which route of the hub: a table by hand, against what a running hub answers."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.http_client import Client
from tests.pushes import Pushes

from skerry.hub import server
from skerry.hub.app import build_app
from skerry.hub.settings import HubSettings, RetentionSection
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.wire.access import AccessTokenRequest
from skerry.wire.codec import encode
from skerry.wire.people import Apply, Rollback, TokenRequest
from skerry.wire.sync import Enrol, Hello, Pull

BODIES = {
    ("POST", "/enrol/v1"): Enrol("no-such-token", "b", {}, "0.1.0", "0" * 64),
    ("POST", "/sync/v1/hello"): Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"),
    ("POST", "/sync/v1/push"): Pushes().records("keep", [("a", 1, 1)]),
    ("POST", "/sync/v1/pull"): Pull(None, ""),
    ("POST", "/api/v1/tokens"): TokenRequest(60.0),
    ("POST", "/api/v1/access/tokens"): AccessTokenRequest("w", "monitor"),
    ("PUT", "/api/v1/workloads"): Apply([]),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): Rollback(),
}

# Who is let in, by hand. Whoever is not named is refused; so is a route that is not here.
EVERYBODY = "nobody node monitor operator admin browser"
LOOKING = "monitor operator admin browser"
ROUTES = {
    ("POST", "/enrol/v1"): EVERYBODY,
    ("POST", "/sync/v1/hello"): "node",
    ("POST", "/sync/v1/push"): "node",
    ("POST", "/sync/v1/pull"): "node",
    ("POST", "/sync/v1/round"): "node",
    ("POST", "/sync/v1/rows/pull"): "node",
    ("POST", "/sync/v1/rows/buckets"): "node",
    ("POST", "/sync/v1/rows/wanted"): "node",
    ("GET", "/sync/v1/models"): "node",
    ("GET", "/sync/v1/blobs/{sha256:str}"): "node",
    ("POST", "/sync/v1/files"): "node",
    ("POST", "/sync/v1/files/held"): "node",
    ("GET", "/sync/v1/files/{sha256:str}"): "node",
    ("POST", "/sync/v1/files/{sha256:str}"): "node",
    ("WS", "/sync/v1/link"): "node",
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/api/v1/nodes"): LOOKING,
    ("DELETE", "/api/v1/nodes/{name:str}"): "admin",
    ("GET", "/api/v1/nodes/{node:str}/logs/{workload:str}"): LOOKING,
    ("POST", "/api/v1/tokens"): "admin",
    ("POST", "/api/v1/login-codes"): "monitor operator admin",
    ("POST", "/api/v1/access/tokens"): "admin",
    ("GET", "/api/v1/access/tokens"): "admin",
    ("DELETE", "/api/v1/access/tokens/{name:str}"): "admin",
    ("GET", "/api/v1/workloads"): LOOKING,
    ("PUT", "/api/v1/workloads"): "admin",
    ("DELETE", "/api/v1/workloads/{name:str}"): "admin",
    ("GET", "/api/v1/workloads/{name:str}/history"): LOOKING,
    ("POST", "/api/v1/workloads/{name:str}/restart"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/rollback"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/pause"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/resume"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/abort"): "operator admin",
    ("GET", "/api/v1/assignments"): LOOKING,
    ("GET", "/api/v1/models"): LOOKING,
    ("DELETE", "/api/v1/models/{name:str}"): "admin",
    ("GET", "/api/v1/blobs/{sha256:str}"): LOOKING,
    ("PUT", "/api/v1/blobs/{sha256:str}"): "admin",
    ("GET", "/api/v1/backups"): LOOKING,
    ("GET", "/api/v1/storage"): LOOKING,
    ("GET", "/api/v1/keys"): LOOKING,
    ("POST", "/api/v1/keys/rotate"): "admin",
    ("GET", "/api/v1/entities"): LOOKING,
    ("PUT", "/api/v1/entities/{entity:str}"): "admin",
    ("POST", "/api/v1/entities/{entity:str}/changes"): "admin",
    ("POST", "/api/v1/entities/{entity:str}/find"): "monitor operator admin",
    ("POST", "/api/v1/entities/{entity:str}/count"): "monitor operator admin",
    ("GET", "/api/v1/entities/{entity:str}/conflicts"): LOOKING,
    ("GET", "/api/v1/entities/{entity:str}/rows"): LOOKING,
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}"): LOOKING,
    ("PUT", "/api/v1/entities/{entity:str}/rows/{id_:str}"): "admin",
    ("DELETE", "/api/v1/entities/{entity:str}/rows/{id_:str}"): "admin",
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}/history"): LOOKING,
    ("GET", "/api/v1/conflicts"): LOOKING,
    ("GET", "/api/v1/decisions"): LOOKING,
    ("GET", "/api/v1/conflicts/{entity:str}/{id_:str}"): LOOKING,
    ("POST", "/api/v1/conflicts/{entity:str}/{id_:str}/resolve"): "admin",
    ("GET", "/api/v1/files"): LOOKING,
    ("GET", "/api/v1/files/{sha256:str}/content"): LOOKING,
    ("GET", "/api/v1/records"): LOOKING,
    ("GET", "/api/v1/records/export"): LOOKING,
    ("GET", "/api/v1/records/completeness"): LOOKING,
    ("PUT", "/api/v1/stick"): "admin",
    ("GET", "/"): LOOKING,
    ("GET", "/live"): LOOKING,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): EVERYBODY,
    ("GET", "/schema"): EVERYBODY,
    ("GET", "/schema/openapi.json"): EVERYBODY,
    ("GET", "/static/{file_path:path}"): EVERYBODY,
    ("HEAD", "/static/{file_path:path}"): EVERYBODY,
}


def settings_for(data_dir: Path, listen: str = "127.0.0.1:0") -> HubSettings:
    return HubSettings(data_dir, listen, None, "test", RetentionSection(1.0, 1.0, 1.0, 1.0))


def filled(path: str) -> str:
    for name, value in (
        ("{node:str}", "a"),
        ("{workload:str}", "w"),
        ("{entity:str}", "recipe"),
        ("{id_:str}", "r"),
        ("{name:str}", "w"),
        ("{file_path:path}", "page.css"),
    ):
        path = path.replace(name, value)
    return path


async def ask(client: Client, method: str, path: str, headers: dict[str, str]) -> int:
    """The status; an endless stream is left after its head."""
    if method == "WS":
        try:
            async with client.ws_connect(path, headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status
    body = BODIES.get((method, path))
    async with client.request(
        method,
        filled(path),
        data=None if body is None else encode(body),
        headers=headers,
        allow_redirects=False,
    ) as response:
        return response.status


async def asking(hub: RunningHub, node: EnrolledNode, client: Client) -> list[tuple[str, dict]]:
    """Everybody by the word for him in the table, with the headers that he sends."""
    tokens = {
        role: await hub.access_token(f"a-{role}", role) for role in ("monitor", "operator", "admin")
    }
    async with client.post(
        "/login", data={"token": hub.admin_token}, allow_redirects=False
    ) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    ended = await hub.access_token("ended", "admin")
    async with client.delete("/api/v1/access/tokens/ended", headers=hub.person) as response:
        assert response.status == 200
    return [
        ("nobody", {}),
        ("nobody", {"Authorization": "Bearer wrong"}),
        ("nobody", {"Authorization": f"Bearer {node.node_id}.wrong"}),
        ("nobody", {"Authorization": f"Basic {hub.admin_token}"}),
        ("nobody", {"Authorization": f"Bearer skt_{'0' * 64}"}),
        ("nobody", ended),
        ("node", hub.node(node)),
        ("admin", hub.person),
        *tokens.items(),
        ("browser", {"Cookie": cookie}),
    ]


def is_as_expected(route: tuple[str, str], who: str, status: int) -> bool:
    if who not in ROUTES[route].split():
        return status in refusals(route, who)
    if route == ("POST", "/login"):  # asked without a token
        return status in {400, 401}
    return status not in {401, 403, 500}


def refusals(route: tuple[str, str], who: str) -> set[int]:
    if route[0] == "WS":  # a handshake has no other
        return {403}
    if who == "nobody":
        return {303 if route == ("GET", "/") else 401}
    if who == "browser":  # its cookie is seen with GET alone
        return {403 if route[0] == "GET" else 401}
    return {403}


@pytest.mark.guarantee("G9")
async def test_permissions(hub: RunningHub, node: EnrolledNode, client: Client) -> None:
    everybody = await asking(hub, node, client)
    wrong = [
        (route, who, status)
        for route in ROUTES
        for who, headers in everybody
        if not is_as_expected(route, who, status := await ask(client, *route, headers))
    ]
    assert wrong == []


@pytest.mark.guarantee("G9")
async def test_every_registered_route_is_in_the_table(tmp_path: Path) -> None:
    clock = SystemClock()
    store = HubStore(f"sqlite:///{tmp_path}/hub.db", clock)
    store.start()
    try:
        features, _ = await server._build(settings_for(tmp_path), store, clock, "")
        app = build_app(features)
    finally:
        store.stop()
    registered = set()
    for route in app.routes:
        if isinstance(route, WebSocketRoute):
            registered.add(("WS", route.path))
            assert "permission" in route.route_handler.opt
        elif isinstance(route, HTTPRoute):
            registered |= {(method, route.path) for method in route.methods if method != "OPTIONS"}
        else:
            pytest.fail(f"{route.path} is neither HTTP nor WebSocket: the guard would not see it")
    assert registered == set(ROUTES)


@pytest.mark.guarantee("G9")
async def test_a_route_that_declares_no_permission_is_refused(
    hub: RunningHub, client: Client
) -> None:
    # Litestar answers OPTIONS by a handler of its own, which declares nothing.
    async with client.options("/healthz", headers=hub.person) as response:
        assert response.status == 403
        assert "declares no permission" in (await response.json())["error"]
