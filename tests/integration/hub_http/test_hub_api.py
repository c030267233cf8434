"""The hub's HTTP: sessions, and what the API says and does. `test_permissions` has who may use which route."""

from __future__ import annotations

import json

import pytest
from tests.http_client import Client, text_of

from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import RunningHub
from skerry.wire.codec import encode
from skerry.wire.people import Apply
from skerry.wire.sync import Enrolled, Pull
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec


async def status_of(client: Client, method: str, path: str, headers: dict[str, str]) -> int:
    async with client.request(method, path, headers=headers) as response:
        return response.status


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
    assert await status_of(client, "GET", "/api/v1/nodes", cookie) == 200
    assert await status_of(client, "POST", "/api/v1/tokens", cookie) == 401
    assert await status_of(client, "PUT", "/api/v1/workloads", cookie) == 401
    forged = {"Cookie": cookie["Cookie"][:-1] + ("1" if cookie["Cookie"][-1] == "0" else "0")}
    assert await status_of(client, "GET", "/api/v1/nodes", forged) == 401
    assert (await text_of(client, "POST", "/login", 401, data={"token": "x"})).count("<form") == 2


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
