"""What a person has open ends when the right to it has ended, and goes on for everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.http_client import Client, text_of
from tests.hub_rig import node_info
from tests.pushes import Pushes
from tests.tunnel_rig import echo, linked, opened, serving

from skerry.hub.trust.standing import JUDGE_EVERY
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.wire.access import RoleRequest, SignIn, UserChange, UserRequest
from skerry.wire.codec import compress, encode

pytestmark = pytest.mark.guarantee("G9")

PASSWORD = "correct horse battery"


class Prompted(SystemClock):
    """The judge's turn comes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds == JUDGE_EVERY:
            await self.turn.wait()
            self.turn.clear()
        else:
            await super().sleep(seconds)


async def signed_in(hub: RunningHub, client: Client, name: str) -> dict[str, str]:
    asked = encode(UserRequest(name, "monitor", PASSWORD))
    await text_of(client, "POST", "/api/v1/access/users", 200, hub.person, asked)
    form = {"user": name, "password": PASSWORD}
    async with client.post("/login", data=form, allow_redirects=False) as response:
        return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


async def by_token(hub: RunningHub, client: Client) -> dict[str, str]:
    body = encode(SignIn("ann", PASSWORD))
    async with client.post("/api/v1/sign-in", data=body) as response:
        return {"Authorization": f"Bearer {(await response.json())['token']}"}


async def ended(stream: aiohttp.ClientResponse) -> None:
    """Returns when the hub has ended the stream."""
    async with asyncio.timeout(60):
        try:
            while await stream.content.readany():
                pass
        except aiohttp.ClientPayloadError:
            pass


async def relabelled(
    hub: RunningHub, client: Client, node: EnrolledNode, pushes: Pushes, site: str, at: int
) -> None:
    unit = pushes.state(node_info(node.node_id, hlc=at, rev=at - 1, site=site))
    headers = hub.node(node) | {"Content-Encoding": "zstd"}
    await text_of(client, "POST", "/sync/v1/push", 200, headers, compress(encode(unit)))


async def test_a_tunnel_ends_when_its_node_is_labelled_otherwise(tmp_path: Path) -> None:
    clock, pushes = Prompted(), Pushes()
    async with (
        running_hub(tmp_path, clock=clock) as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        node, other = await hub.enrol("a", {"site": "lab"}), await hub.enrol("b", {"site": "lab"})
        asked = encode(RoleRequest("lab", ["execute"], {"site": "lab"}))
        await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, asked)
        ann = await hub.access_token("ann", "lab")
        async with (
            serving(echo) as port,
            linked(hub, node, [port]),
            linked(hub, other, [port]),
            opened(client, ann, port) as hers,
            opened(client, hub.person, port) as everybodys,
            opened(client, ann, port, "b") as beside,
        ):
            clock.turn.set()
            for person in (hers, everybodys, beside):
                await person.send(b"first")
                assert await person.read(5) == b"first"
            await relabelled(hub, client, node, pushes, "roof", 1)
            clock.turn.set()
            async with asyncio.timeout(60):
                ending = await hers.socket.receive()
            assert ending.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
            for person in (everybodys, beside):
                await person.send(b"more")
                assert await person.read(4) == b"more"


async def lines_for_ever(_workload: str) -> AsyncIterator[str]:
    while True:
        yield "line"
        await asyncio.sleep(0.01)


async def test_a_followed_log_ends_when_its_node_is_labelled_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, pushes = Prompted(), Pushes()
    async with (
        running_hub(tmp_path, clock=clock) as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        node = await hub.enrol("a", {"site": "lab"})
        asked = encode(RoleRequest("lab", ["read"], {"site": "lab"}))
        await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, asked)
        ann = await hub.access_token("ann", "lab")
        path = "/api/v1/nodes/a/logs/w?follow=true"
        async with linked(hub, node) as (_, logs):
            logs.lines["w"] = []
            monkeypatch.setattr(logs, "_lines", lines_for_ever)
            async with (
                client.get(path, headers=ann) as hers,
                client.get(path, headers=hub.person) as everybodys,
            ):
                clock.turn.set()
                for stream in (hers, everybodys):
                    assert b"line" in await stream.content.readany()
                await relabelled(hub, client, node, pushes, "roof", 1)
                clock.turn.set()
                await ended(hers)
                assert b"line" in await everybodys.content.readany()


async def test_streams_of_a_user_end_with_the_users_right_to_them(tmp_path: Path) -> None:
    clock = Prompted()
    async with (
        running_hub(tmp_path, clock=clock) as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        ann, bob = await signed_in(hub, client, "ann"), await signed_in(hub, client, "bob")
        token = await by_token(hub, client)
        ci = await hub.access_token("ci", "monitor")
        streams = [await client.get("/live", headers=each) for each in (ann, token, ci, bob)]
        for stream in streams:
            assert await stream.content.readany()
        change = encode(UserChange(enabled=False))
        await text_of(client, "PATCH", "/api/v1/access/users/ann", 200, hub.person, change)
        await text_of(client, "DELETE", "/api/v1/access/tokens/ci", 200, hub.person)
        clock.turn.set()
        for stream in streams[:3]:
            await ended(stream)
        while b"event:" not in await streams[3].content.readany():
            pass
        assert not streams[3].content.at_eof()
        for stream in streams:
            stream.close()
