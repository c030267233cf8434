"""The hub's HTTP: who may use which route, and what the API says about itself. `test_hub_requests` has the wrong requests."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.http_client import Client, text_of
from tests.pushes import Pushes

from skerry.hub import server
from skerry.hub.app import build_app
from skerry.hub.settings import HubSettings, RetentionSection
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import RunningHub
from skerry.wire.codec import encode
from skerry.wire.people import Apply, Rollback, TokenRequest
from skerry.wire.sync import Enrol, Enrolled, Hello, Pull
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

BODIES = {
    ("POST", "/enrol/v1"): Enrol("no-such-token", "b", {}, "0.1.0", "0" * 64),
    ("POST", "/sync/v1/hello"): Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"),
    ("POST", "/sync/v1/push"): Pushes().records("keep", [("a", 1, 1)]),
    ("POST", "/sync/v1/pull"): Pull(None, ""),
    ("POST", "/api/v1/tokens"): TokenRequest(60.0),
    ("PUT", "/api/v1/workloads"): Apply([]),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): Rollback(),
}

# The table of permissions, by hand: method, path as registered, and the answer to nobody, node and person.
# A number is exact; OK means that the guard let it pass.
OK = 0
ROUTES = {
    ("POST", "/enrol/v1"): (OK, OK, OK),
    ("POST", "/sync/v1/hello"): (401, OK, 403),
    ("POST", "/sync/v1/push"): (401, OK, 403),
    ("POST", "/sync/v1/pull"): (401, OK, 403),
    ("GET", "/sync/v1/models"): (401, OK, 403),
    ("WS", "/sync/v1/link"): (403, OK, 403),
    ("GET", "/healthz"): (OK, OK, OK),
    ("GET", "/api/v1/nodes"): (401, 403, OK),
    ("DELETE", "/api/v1/nodes/{name:str}"): (401, 403, OK),
    ("GET", "/api/v1/nodes/{node:str}/logs/{workload:str}"): (401, 403, OK),
    ("POST", "/api/v1/tokens"): (401, 403, OK),
    ("POST", "/api/v1/login-codes"): (401, 403, OK),
    ("GET", "/api/v1/workloads"): (401, 403, OK),
    ("GET", "/api/v1/assignments"): (401, 403, OK),
    ("PUT", "/api/v1/workloads"): (401, 403, OK),
    ("DELETE", "/api/v1/workloads/{name:str}"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/restart"): (401, 403, OK),
    ("GET", "/api/v1/models"): (401, 403, OK),
    ("GET", "/api/v1/backups"): (401, 403, OK),
    ("GET", "/api/v1/storage"): (401, 403, OK),
    ("GET", "/api/v1/entities"): (401, 403, OK),
    ("PUT", "/api/v1/entities/{entity:str}"): (401, 403, OK),
    ("POST", "/api/v1/entities/{entity:str}/changes"): (401, 403, OK),
    ("POST", "/api/v1/entities/{entity:str}/find"): (401, 403, OK),
    ("POST", "/api/v1/entities/{entity:str}/count"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/conflicts"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("PUT", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("DELETE", "/api/v1/entities/{entity:str}/rows/{id_:str}"): (401, 403, OK),
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}/history"): (401, 403, OK),
    ("GET", "/api/v1/conflicts"): (401, 403, OK),
    ("GET", "/api/v1/decisions"): (401, 403, OK),
    ("GET", "/api/v1/conflicts/{entity:str}/{id_:str}"): (401, 403, OK),
    ("POST", "/api/v1/conflicts/{entity:str}/{id_:str}/resolve"): (401, 403, OK),
    ("POST", "/sync/v1/rows/pull"): (401, OK, 403),
    ("POST", "/sync/v1/rows/buckets"): (401, OK, 403),
    ("POST", "/sync/v1/rows/wanted"): (401, OK, 403),
    ("POST", "/sync/v1/round"): (401, OK, 403),
    ("GET", "/api/v1/keys"): (401, 403, OK),
    ("POST", "/api/v1/keys/rotate"): (401, 403, 409),
    ("DELETE", "/api/v1/models/{name:str}"): (401, 403, OK),
    ("GET", "/api/v1/blobs/{sha256:str}"): (401, 403, OK),
    ("PUT", "/api/v1/blobs/{sha256:str}"): (401, 403, OK),
    ("GET", "/sync/v1/blobs/{sha256:str}"): (401, OK, 403),
    ("POST", "/sync/v1/files"): (401, OK, 403),
    ("POST", "/sync/v1/files/held"): (401, OK, 403),
    ("GET", "/sync/v1/files/{sha256:str}"): (401, OK, 403),
    ("POST", "/sync/v1/files/{sha256:str}"): (401, OK, 403),
    ("GET", "/api/v1/files"): (401, 403, OK),
    ("GET", "/api/v1/files/{sha256:str}/content"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/pause"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/resume"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/update/abort"): (401, 403, OK),
    ("GET", "/api/v1/workloads/{name:str}/history"): (401, 403, OK),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): (401, 403, OK),
    ("GET", "/api/v1/records"): (401, 403, OK),
    ("GET", "/api/v1/records/export"): (401, 403, OK),
    ("GET", "/api/v1/records/completeness"): (401, 403, OK),
    ("PUT", "/api/v1/stick"): (401, 403, OK),
    ("GET", "/"): (303, 403, OK),
    ("GET", "/live"): (401, 403, OK),
    ("GET", "/login"): (OK, OK, OK),
    ("POST", "/login"): (OK, OK, OK),
    ("POST", "/logout"): (303, 303, 303),
    ("GET", "/schema"): (OK, OK, OK),
    ("GET", "/schema/openapi.json"): (OK, OK, OK),
    ("GET", "/static/{file_path:path}"): (OK, OK, OK),
    ("HEAD", "/static/{file_path:path}"): (OK, OK, OK),
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


@pytest.mark.guarantee("G9")
async def test_permissions(hub: RunningHub, node: Enrolled, client: Client) -> None:
    principals = [
        (0, {}),
        (0, {"Authorization": "Bearer wrong"}),
        (0, {"Authorization": f"Bearer {node.node_id}.wrong"}),
        (0, {"Authorization": f"Basic {hub.admin_token}"}),
        (1, hub.node(node)),
        (2, hub.person),
    ]
    wrong = [
        (route, headers, status)
        for route, expected in ROUTES.items()
        for column, headers in principals
        if not is_as_expected(route, expected[column], status := await ask(client, *route, headers))
    ]
    assert wrong == []


def is_as_expected(route: tuple[str, str], expected: int, status: int) -> bool:
    if expected != OK:
        return status == expected
    if route == ("POST", "/login"):  # asked without a token
        return status in {400, 401}
    return status not in {401, 403, 500}


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


@pytest.mark.guarantee("G9")
async def test_a_browser_session_may_look_and_not_change(hub: RunningHub, client: Client) -> None:
    async with client.post(
        "/login", data={"token": f" {hub.admin_token}\n"}, allow_redirects=False
    ) as response:
        assert response.status == 303
        set_cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in set_cookie
    assert "SameSite=strict" in set_cookie
    cookie = {"Cookie": set_cookie.partition(";")[0]}
    assert await ask(client, "GET", "/api/v1/nodes", cookie) == 200
    assert await ask(client, "POST", "/api/v1/tokens", cookie) == 401
    assert await ask(client, "PUT", "/api/v1/workloads", cookie) == 401
    forged = {"Cookie": cookie["Cookie"].replace("=1", "=2")}
    assert await ask(client, "GET", "/api/v1/nodes", forged) == 401
    assert (await text_of(client, "POST", "/login", 401, data={"token": "x"})).count("<form") == 1


async def test_a_login_code_works_once(hub: RunningHub, client: Client) -> None:
    code = json.loads(await text_of(client, "POST", "/api/v1/login-codes", 200, hub.person))
    async with client.get(code["path"], allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/"
        assert "skerry_" in response.headers["Set-Cookie"]
    assert "used before" in await text_of(client, "GET", code["path"], 401)
    assert hub.admin_token not in code["path"]


async def test_workloads_through_the_api(hub: RunningHub, node: Enrolled, client: Client) -> None:
    spec = WorkloadSpec(
        name="w", process=ProcessSpec(command=["python", "-m", "x"]), on=Selector(node="a")
    )
    path = "/api/v1/workloads"
    await text_of(client, "PUT", path, 200, hub.person, encode(Apply([spec])))
    [view] = json.loads(await text_of(client, "GET", f"{path}?name=w", 200, hub.person))
    assert view["spec"]["name"] == "w"
    assert list(view["nodes"]) == ["a"]
    await text_of(client, "POST", f"{path}/w/restart", 204, hub.person)
    await text_of(client, "DELETE", f"{path}/w", 204, hub.person)
    assert json.loads(await text_of(client, "GET", path, 200, hub.person)) == []


async def test_a_request_is_a_sign_of_life(hub: RunningHub, node: Enrolled, client: Client) -> None:
    before = SystemClock().wall_ns()
    pull = encode(Pull(None, ""))
    await text_of(client, "POST", "/sync/v1/pull", 200, hub.node(node), pull)
    [view] = json.loads(await text_of(client, "GET", "/api/v1/nodes", 200, hub.person))
    assert view["online"]
    assert view["last_seen"] >= before
