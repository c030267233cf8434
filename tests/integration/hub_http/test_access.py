"""API tokens over HTTP: what a refusal says, when a token ends, what is noted, and that it is kept nowhere."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from pathlib import Path

import aiohttp
import pytest
from tests.canary import everything
from tests.http_client import Client, problem, text_of

from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.access import AccessTokenReply, AccessTokenRequest, AccessTokenView
from skerry.wire.codec import decode, encode
from skerry.wire.people import Apply, LoginCode, Rollback, WorkloadVersion
from skerry.wire.sync import Enrolled
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

TOKENS = "/api/v1/access/tokens"
NODES = "/api/v1/nodes"

Headers = dict[str, str]


async def test_a_refusal_says_who_asks_what_is_missing_and_who_has_it(
    hub: RunningHub, client: Client
) -> None:
    monitor = await hub.access_token("ci", "monitor")
    operator = await hub.access_token("night-shift", "operator")
    restart = "/api/v1/workloads/w/restart"
    assert await problem(client, "POST", restart, 403, monitor) == (
        "cannot do this as «ci» (role monitor): it needs permission execute. "
        "Ask for a token with role operator or admin: skerry access token create."
    )
    assert await problem(client, "DELETE", "/api/v1/workloads/w", 403, operator) == (
        "cannot do this as «night-shift» (role operator): it needs permission write. "
        "Ask for a token with role admin: skerry access token create."
    )
    assert "«night-shift» (role operator): it needs permission configure. Ask" in await problem(
        client, "GET", TOKENS, 403, operator
    )
    assert (await problem(client, "POST", restart, 404, operator)).count("«w»") == 1


async def test_who_is_nobody_is_told_why(hub: RunningHub, client: Client) -> None:
    for wrong in ("", "Bearer", "Bearer skt_x", f"Bearer skt_{'0' * 64}"):
        assert await problem(client, "GET", NODES, 401, {"Authorization": wrong}) == (
            "cannot use this route as nobody: it is for a person. "
            "Send «Authorization: Bearer …» with a valid token."
        )


@pytest.mark.guarantee("G9")
async def test_a_token_that_was_revoked_is_refused_at_the_next_request(
    hub: RunningHub, client: Client
) -> None:
    token = await hub.access_token("ci", "monitor")
    await text_of(client, "GET", NODES, 200, token)
    await text_of(client, "DELETE", f"{TOKENS}/ci", 200, hub.person)
    words = await problem(client, "GET", NODES, 401, token)
    assert words.startswith("cannot use this route: token «ci» was revoked at 2")
    assert words.endswith("Z. Send «Authorization: Bearer …» with a valid token.")
    await text_of(client, "GET", "/healthz", 200, token)


@pytest.mark.guarantee("G9")
async def test_a_token_that_has_expired_is_refused_at_the_next_request(
    hub: RunningHub, client: Client, tmp_path: Path
) -> None:
    token = await hub.access_token("ci", "monitor")
    await text_of(client, "GET", NODES, 200, token)
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database, database:
        database.execute("UPDATE api_token SET expires_at = created_at")
    words = await problem(client, "GET", NODES, 401, token)
    assert words.startswith("cannot use this route: token «ci» was good until 2")


async def test_what_is_open_to_everybody_asks_no_database_who_comes(
    hub: RunningHub, client: Client, tmp_path: Path
) -> None:
    token = await hub.access_token("ci", "monitor")
    cookie = await signed_in(client, token)
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database, database:
        database.execute("ALTER TABLE api_token RENAME TO out_of_reach")
    for headers in (token, cookie):
        await text_of(client, "GET", "/healthz", 200, headers)
        await text_of(client, "GET", "/static/page.css", 200, headers)
        await problem(client, "GET", NODES, 503, headers)
    await text_of(client, "GET", NODES, 200, hub.person)


async def test_tokens_are_listed_without_their_secrets(hub: RunningHub, client: Client) -> None:
    await hub.access_token("ci", "monitor", ttl=60.0)
    boss = await hub.access_token("boss", "admin")
    asked = encode(AccessTokenRequest("night", "operator"))
    made = decode(
        (await text_of(client, "POST", TOKENS, 200, boss, asked)).encode(), AccessTokenReply, "made"
    )
    text = await text_of(client, "GET", TOKENS, 200, boss)
    found = decode(text.encode(), list[AccessTokenView], "list")
    assert [(each.name, each.role, each.state, each.created_by) for each in found] == [
        ("boss", "admin", "valid", "admin"),
        ("ci", "monitor", "valid", "admin"),
        ("night", "operator", "valid", "boss"),
    ]
    assert found[2].expires_at == made.expires_at
    assert "hash" not in text
    assert "skt_" not in text
    await problem(client, "POST", TOKENS, 409, boss, asked)
    wrong = encode(AccessTokenRequest("x", "root"))
    assert "unknown role «root»" in await problem(client, "POST", TOKENS, 400, boss, wrong)
    await problem(client, "DELETE", f"{TOKENS}/nobody", 404, boss)


async def test_what_was_done_is_noted_under_the_name_of_the_token(
    hub: RunningHub, node: Enrolled, client: Client
) -> None:
    ann, night = await hub.access_token("ann", "admin"), await hub.access_token("night", "operator")
    for word in ("a", "b"):
        process = ProcessSpec(command=["python", "-m", word])
        spec = WorkloadSpec(name="w", process=process, on=Selector(node="a"))
        await text_of(client, "PUT", "/api/v1/workloads", 200, ann, encode(Apply([spec])))
    path = "/api/v1/workloads/w"
    await text_of(client, "POST", f"{path}/rollback", 200, night, encode(Rollback()))
    text = await text_of(client, "GET", f"{path}/history", 200, night)
    versions = decode(text.encode(), list[WorkloadVersion], "history")
    assert [(each.change, each.by) for each in versions] == [
        ("create", "ann"), ("change", "ann"), ("rollback", "night"),
    ]  # fmt: skip


async def signed_in(client: Client, token: Headers) -> Headers:
    """The cookie of a browser that a login code of this token has signed in."""
    text = await text_of(client, "POST", "/api/v1/login-codes", 200, token)
    code = decode(text.encode(), LoginCode, "code")
    async with client.get(code.path, allow_redirects=False) as response:
        assert response.status == 303
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


@pytest.mark.guarantee("G9")
async def test_a_session_looks_for_as_long_as_the_token_that_began_it(
    hub: RunningHub, client: Client
) -> None:
    admin, operator = (
        await hub.access_token("boss", "admin"),
        await hub.access_token("o", "operator"),
    )
    boss, cookie = await signed_in(client, admin), await signed_in(client, operator)
    for each in (boss, cookie):
        await text_of(client, "GET", NODES, 200, each)
        await text_of(client, "POST", "/api/v1/workloads/w/restart", 401, each)
        words = await problem(client, "GET", TOKENS, 403, each)
        assert ", in a browser): it needs permission configure" in words
    changed = {"Cookie": cookie["Cookie"][:-1] + ("1" if cookie["Cookie"][-1] == "0" else "0")}
    await text_of(client, "GET", NODES, 401, changed)
    bearer = {"Authorization": f"Bearer {cookie['Cookie'].partition('=')[2]}"}
    await text_of(client, "GET", NODES, 401, bearer)

    late = json.loads(await text_of(client, "POST", "/api/v1/login-codes", 200, operator))
    await text_of(client, "DELETE", f"{TOKENS}/o", 200, admin)
    assert "token «o» was revoked" in await problem(client, "GET", NODES, 401, cookie)
    async with client.get(late["path"], allow_redirects=False) as response:
        assert response.status == 409
        assert "Set-Cookie" not in response.headers
    await text_of(client, "GET", NODES, 200, boss)


async def test_an_api_token_signs_a_browser_in(hub: RunningHub, client: Client) -> None:
    token = await hub.access_token("ci", "monitor")
    form = {"token": token["Authorization"].removeprefix("Bearer ")}
    async with client.post("/login", data=form, allow_redirects=False) as response:
        assert response.status == 303
        cookie = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
    await text_of(client, "GET", "/", 200, cookie)
    await text_of(client, "DELETE", f"{TOKENS}/ci", 200, hub.person)
    assert "not any more" in await text_of(client, "POST", "/login", 401, data=form)


@pytest.mark.guarantee("G10")
async def test_the_token_is_in_no_log_and_in_no_file_of_the_hub(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as client:
        good = await hub.access_token("ci", "monitor")
        ended = await hub.access_token("old", "admin")
        await text_of(client, "DELETE", f"{TOKENS}/old", 200, hub.person)
        for token, status in ((good, 200), (ended, 401)):
            await text_of(client, "GET", NODES, status, token)
        await problem(client, "GET", TOKENS, 403, good)
        await signed_in(client, good)
        alive = everything(tmp_path)
    for token in (good, ended):
        secret = token["Authorization"].rpartition("skt_")[2]
        assert len(secret) == 64
        for form in (secret.encode(), bytes.fromhex(secret)):
            assert form not in alive
            assert form not in everything(tmp_path)
        assert secret not in caplog.text
        assert secret not in repr([record.args for record in caplog.records])
