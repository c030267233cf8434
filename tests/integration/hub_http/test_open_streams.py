"""What a person or a node has open ends when the right to it has ended, and goes on for everybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.http_client import Client, text_of
from tests.hub_rig import node_info
from tests.pushes import Pushes
from tests.sync_rig import Logs
from tests.tunnel_rig import echo, linked, opened, serving

from skerry.hub.api.carrying import CHECK_EVERY
from skerry.hub.trust.ssh_keys import public_line
from skerry.hub.trust.standing import JUDGE_EVERY
from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import EnrolledNode, RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.access import RoleRequest, SignIn, UserChange, UserRequest
from skerry.wire.codec import compress, encode
from skerry.wire.ssh import SshCertificateRequest, SshNode, SshRevoke

pytestmark = pytest.mark.guarantee("G9")

PASSWORD = "correct horse battery"


class Prompted(SystemClock):
    """Those who judge what is open, and do so within 20 s, do it all the time once the test says so, never before."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = asyncio.Event()
        self.turns = 0

    def judge(self) -> None:
        self._begun.set()

    async def sleep(self, seconds: float) -> None:
        if seconds in {JUDGE_EVERY, CHECK_EVERY}:
            assert seconds <= 20.0, "within 60 s, also when a turn is missed"
            await self._begun.wait()
            self.turns += 1
            # Whoever cuts is quicker: it must leave to the other what that one ends with words.
            seconds = 0.01 if seconds == JUDGE_EVERY else 0.1
        await super().sleep(seconds)


class Endless(Logs):
    """Logs that are followed for ever."""

    async def _lines(self, workload: str) -> AsyncIterator[str]:
        for line in self.lines[workload]:
            yield line
        await asyncio.Event().wait()


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
            clock.judge()
            for person in (hers, everybodys, beside):
                await person.send(b"first")
                assert await person.read(5) == b"first"
            await relabelled(hub, client, node, pushes, "roof", 1)
            async with asyncio.timeout(60):
                while not hers.socket.closed:  # credit may come before the end
                    await hers.socket.receive()
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
                clock.judge()
                for stream in (hers, everybodys):
                    assert b"line" in await stream.content.readany()
                await relabelled(hub, client, node, pushes, "roof", 1)
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
        clock.judge()
        for stream in streams[:3]:
            await ended(stream)
        judged = clock.turns
        await eventually(lambda: clock.turns > judged + 2, "bob's has been judged, too")
        assert not streams[3].content.at_eof()
        for stream in streams:
            stream.close()


@dataclass
class Scene:
    """A hub whose judges wait for the test, and a node of it with an open link, endless logs and two services."""

    hub: RunningHub
    clock: Prompted
    client: Client
    node: EnrolledNode
    port: int
    other_port: int

    async def follows(self, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """A log that is followed."""
        path = "/api/v1/nodes/a/logs/w?follow=true"
        stream = await self.client.get(path, headers=headers)
        assert await stream.content.readline() == b"one\n"
        return stream


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Prompted()
    async with (
        running_hub(tmp_path, clock=clock) as hub,
        aiohttp.ClientSession(hub.address, cookie_jar=aiohttp.DummyCookieJar()) as client,
        serving(echo) as port,
        serving(echo) as other_port,
    ):
        node = await hub.enrol("a")
        async with linked(hub, node, [port, other_port], logs=Endless({"w": ["one"]})):
            yield Scene(hub, clock, client, node, port, other_port)


async def test_everything_that_a_revoked_token_has_open_ends_and_others_go_on(
    scene: Scene,
) -> None:
    hub, client = scene.hub, scene.client
    ann, bob = [await hub.access_token(name, "operator") for name in ("ann", "bob")]
    hers, his = await scene.follows(ann), await scene.follows(bob)
    async with (
        opened(client, ann, scene.port) as her_tunnel,
        opened(client, bob, scene.port) as his_tunnel,
    ):
        await text_of(client, "DELETE", "/api/v1/access/tokens/ann", 200, hub.person)
        scene.clock.judge()
        await ended(hers)
        assert await her_tunnel.rest() == b""
        assert "was revoked" in str(her_tunnel.words)
        await his_tunnel.send(b"still")
        assert await his_tunnel.read(5) == b"still"
    assert not his.content.at_eof()
    his.close()


async def sshd_trusts(hub: RunningHub, client: Client, node: EnrolledNode, port: int) -> None:
    """The node says that its sshd is at this port."""
    told = encode(SshNode("dev", port, a_key(), "skerry node limited"))
    await text_of(client, "POST", "/sync/v1/ssh", 200, hub.node(node), told)


async def certificate_of(client: Client, headers: dict[str, str]) -> int:
    """The number of a new SSH certificate of this person for the node."""
    path, asked = "/api/v1/nodes/a/ssh-certificates", encode(SshCertificateRequest(a_key()))
    return json.loads(await text_of(client, "POST", path, 200, headers, asked))["serial"]  # type: ignore[no-any-return]


def a_key() -> str:
    return public_line(Ed25519PrivateKey.generate())


async def test_logins_end_when_a_certificate_that_may_have_begun_them_is_revoked(
    scene: Scene,
) -> None:
    hub, client, port = scene.hub, scene.client, scene.port
    await sshd_trusts(hub, client, scene.node, port)
    ann, bob = [await hub.access_token(name, "operator") for name in ("ann", "bob")]
    serials = [await certificate_of(client, each) for each in (ann, ann, bob)]

    async def revoke(serial: int) -> None:
        asked = encode(SshRevoke(serial=serial))
        await text_of(client, "POST", "/api/v1/access/ssh/revoke", 200, hub.person, asked)

    await revoke(serials[0])  # before she logs in, by the other one
    async with (
        opened(client, ann, port) as she,
        opened(client, bob, port) as he,
        opened(client, ann, scene.other_port) as her_page,
    ):
        for serial in (serials[0], serials[1]):
            for person in (she, he, her_page):
                await person.send(b"still")
                assert await person.read(5) == b"still"
            await revoke(serial)
            scene.clock.judge()
        assert await she.rest() == b""
        assert "SSH certificate of «ann» for this node was revoked" in str(she.words)
        for person in (he, her_page):
            await person.send(b"still")
            assert await person.read(5) == b"still"
        async with opened(client, ann, port) as again:  # by a certificate that she gets now
            await again.send(b"still")
            assert await again.read(5) == b"still"


async def test_everything_that_goes_through_a_revoked_node_ends_at_once(scene: Scene) -> None:
    hub, client = scene.hub, scene.client
    log = await scene.follows(hub.person)
    async with opened(client, hub.person, scene.port) as person:
        await text_of(client, "POST", "/api/v1/nodes/a/revoke", 200, hub.person)
        assert await person.rest() == b""
        assert "the link to the node was cut" in str(person.words)
    async with asyncio.timeout(60):
        assert b"the link to the node was cut" in await log.content.read()


async def test_what_a_revoked_node_has_begun_ends(scene: Scene) -> None:
    """A push of which the rest never comes."""
    reading = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        reading.set()  # the hub has let it in, and asked for the body
        yield b"{"
        await asyncio.Event().wait()

    async with aiohttp.ClientSession(scene.hub.address) as session, asyncio.TaskGroup() as group:
        headers = scene.hub.node(scene.node)
        push = group.create_task(
            refused_or_cut(
                session.post("/sync/v1/push", data=body(), headers=headers, expect100=True)
            )
        )
        await reading.wait()
        await text_of(scene.client, "POST", "/api/v1/nodes/a/revoke", 200, scene.hub.person)
        assert not push.done()
        scene.clock.judge()
    assert push.result() == "cut"


async def refused_or_cut(request: Awaitable[aiohttp.ClientResponse]) -> str:
    try:
        async with asyncio.timeout(60):
            return str((await request).status)
    except aiohttp.ClientConnectionError:
        return "cut"
