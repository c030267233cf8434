"""Who may use which route of the hub: a table by hand, against what a running hub answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from litestar.routes import HTTPRoute, WebSocketRoute
from tests.http_client import Client, text_of
from tests.route_table import CONFIGURING, EVERYBODY, ROUTES, SCOPED, ask

from skerry.hub import server
from skerry.hub.app import build_app
from skerry.hub.settings import HubSettings, NodesSection, RetentionSection
from skerry.hub.store.hub_store import HubStore
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.wire.access import RoleRequest
from skerry.wire.codec import encode


def settings_for(data_dir: Path, listen: str = "127.0.0.1:0") -> HubSettings:
    retention, nodes = RetentionSection(1.0, 1.0, 1.0, 1.0), NodesSection("127.0.0.1:0", "secret")
    return HubSettings(data_dir, listen, None, "test", retention, nodes)


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
    if route in {
        ("POST", "/login"),
        ("POST", "/api/v1/sign-in"),
    }:  # asked with nothing that is good
        return status in {400, 401, 429}
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
@pytest.mark.parametrize("word", ["read", "execute", "write", "configure"])
async def test_permissions_of_roles_of_ones_own(
    hub: RunningHub, node: EnrolledNode, client: Client, word: str
) -> None:
    """One permission each: who has it passes where one of the built-in roles does that has it, and nobody else."""
    for name, on in (("everywhere", {}), ("lab", {"site": "lab"})):
        asked = encode(RoleRequest(f"{name}-{word}", [word], on))
        await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, asked)
    everywhere = await hub.access_token("e", f"everywhere-{word}")
    lab = await hub.access_token("l", f"lab-{word}")
    wrong = []
    for route, allowed in ROUTES.items():
        for who, headers in (("everywhere", everywhere), ("lab", lab)):
            passes = allowed == EVERYBODY or (
                needed(route) == word and (who == "everywhere" or route in SCOPED)
            )
            status = await ask(client, *route, headers)
            refused = status in ({403} if route[0] != "WS" else {403, 401})
            by_password = route in {("POST", "/login"), ("POST", "/api/v1/sign-in")}
            if refused == passes or (status in {401, 500} and not by_password):
                wrong.append((route, who, status))
    assert wrong == []


def needed(route: tuple[str, str]) -> str:
    """The permission that it needs, by who is let in."""
    match ROUTES[route]:
        case "node":
            return "none"
        case "operator admin":
            return "execute"
        case "admin":
            return "configure" if route in CONFIGURING else "write"
        case _:
            return "read"


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
