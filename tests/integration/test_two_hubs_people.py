"""Users at two hubs on one PostgreSQL: a token of one is one of the other, and wrong passwords at one hold up at both."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from tests.postgres import Postgres

from skerry.testing.running_hub import running_hub
from skerry.wire.access import SignIn, UserChange, UserRequest
from skerry.wire.codec import encode

pytestmark = [pytest.mark.postgres, pytest.mark.guarantee("G9")]


async def test_users_and_their_wrong_passwords_are_known_to_both(
    postgres: Postgres, tmp_path: Path
) -> None:
    with postgres.database() as url:
        async with (
            running_hub(tmp_path, database=url) as hub,
            running_hub(tmp_path, database=url) as second,
            aiohttp.ClientSession(hub.address) as one,
            aiohttp.ClientSession(second.address) as other,
        ):
            await check(hub.person, one, other)


async def check(
    person: dict[str, str], one: aiohttp.ClientSession, other: aiohttp.ClientSession
) -> None:
    password = "correct horse battery"
    body = encode(UserRequest("ann", "monitor", password))
    async with one.post("/api/v1/access/users", data=body, headers=person) as response:
        assert response.status == 200

    async def sign_in(session: aiohttp.ClientSession, word: str) -> tuple[int, str]:
        async with session.post("/api/v1/sign-in", data=encode(SignIn("ann", word))) as response:
            return response.status, (await response.json()).get("token", "")

    status, token = await sign_in(one, password)
    assert status == 200
    headers = {"Authorization": f"Bearer {token}"}
    for session in (one, other):
        async with session.get("/api/v1/nodes", headers=headers) as response:
            assert response.status == 200
    tried = [await sign_in(each, "wrong") for each in (one, other) * 2]
    assert [status for status, _ in tried] == [401] * 4
    # The fifth begins a wait of two seconds, the sixth after it one of four, and so on: for both hubs.
    waits = []
    for session in (one, other, one):
        async with session.post("/api/v1/sign-in", data=encode(SignIn("ann", "wrong"))) as response:
            assert response.status == 429
            waits.append(int(response.headers["Retry-After"]))
    assert waits[0] == 2
    body = encode(UserChange(enabled=False))
    path = "/api/v1/access/users/ann"
    async with other.patch(path, data=body, headers=person) as response:
        assert response.status == 200
    for session in (one, other):
        async with session.get("/api/v1/nodes", headers=headers) as response:
            assert response.status == 401
