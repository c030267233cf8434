"""The hub as a process: where it listens, how it ends, what it keeps, how it describes its API."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.route_table import ROUTES
from tests.web_sockets import next_frame

from skerry.hub import server, web_server
from skerry.hub.api import admin_token
from skerry.hub.settings import HubSettings, NodesSection, RetentionSection
from skerry.kit.clock import NS, SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.codec import encode
from skerry.wire.sync import Pull

FOR_PROGRAMS = ("/api/", "/sync/", "/enrol/", "/trust/", "/healthz")


def written(route: tuple[str, str]) -> tuple[str, str]:
    """A route of the table as the document has it."""
    method, path = route
    return method, re.sub(r":(str|path)}", "}", path)


PROGRAM_ROUTES = {
    written(route) for route in ROUTES if route[0] != "WS" and route[1].startswith(FOR_PROGRAMS)
}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


@pytest.fixture
async def client(hub: RunningHub) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(hub.address) as session:
        yield session


def settings_for(data_dir: Path, listen: str) -> HubSettings:
    retention, nodes = RetentionSection(1.0, 1.0, 1.0, 1.0), NodesSection("127.0.0.1:0", "secret")
    return HubSettings(data_dir, listen, None, "test", retention, nodes)


async def text_of(
    client: aiohttp.ClientSession, path: str, headers: dict[str, str] | None = None
) -> str:
    async with client.get(path, headers=headers) as response:
        assert response.status == 200
        return await response.text()


async def test_the_openapi_document_describes_every_route(
    hub: RunningHub, client: aiohttp.ClientSession
) -> None:
    document = json.loads(await text_of(client, "/schema/openapi.json"))
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert set(described) == PROGRAM_ROUTES
    identifiers = [operation["operationId"] for operation in described.values()]
    assert len(set(identifiers)) == len(identifiers)
    for (_, path), operation in described.items():
        assert operation["summary"]
        assert set(operation["responses"]) > {"default"}
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    references = set(find_references(document))
    components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references == components
    body = described["PUT", "/api/v1/workloads"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/Apply"}
    assert described["GET", "/api/v1/nodes"]["security"] == [{"person": ["read"]}]
    assert described["POST", "/api/v1/tokens"]["security"] == [{"person": ["configure"]}]
    assert described["POST", "/sync/v1/push"]["security"] == [{"node": []}]
    assert described["GET", "/healthz"]["security"] == []
    assert document["components"]["schemas"]["Generation"]["type"] == "array"
    asked = {"name", "node", "source", "kind", "since", "until"}
    for path, more in (
        ("", {"limit", "format"}),
        ("/export", set()),
        ("/completeness", {"factor"}),
    ):
        parameters = described["GET", f"/api/v1/records{path}"]["parameters"]
        assert {each["name"] for each in parameters} == asked | more
        assert not any(each["required"] for each in parameters)


def find_references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for part in value.values() for each in find_references(part)]
    if isinstance(value, list):
        return [each for part in value for each in find_references(part)]
    return []


async def test_the_api_page_loads_nothing_from_elsewhere(client: aiohttp.ClientSession) -> None:
    text = await text_of(client, "/schema")
    assert "/api/v1/records" in text
    assert "//" not in text.replace("</", "")
    async with client.get("/schema") as response:
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]


@pytest.mark.guarantee("G9")
async def test_only_loopback_is_listened_on(tmp_path: Path) -> None:
    for listen in ("0.0.0.0:8600", "192.0.2.7:8600", "[::]:8600", "example.org:80"):
        with pytest.raises(Refused, match="loopback"):
            await server.serve(settings_for(tmp_path / "hub", listen))
    assert not (tmp_path / "hub").exists()


async def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Refused, match=r"another program has this port.*listen"):
            await server.serve(settings_for(tmp_path / "hub", listen))
    assert not (tmp_path / "hub").exists()


async def test_a_port_that_is_taken_during_the_start_is_one_clear_sentence(tmp_path: Path) -> None:
    """As by another hub that starts at the same time."""
    with web_server.listen(settings_for(tmp_path, "127.0.0.1:0")) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"

        def take_the_port(_address: str) -> None:
            other.listen()

        with pytest.raises(Refused, match=rf"cannot listen at .*{listen}.*another program took"):
            await server.serve(settings_for(tmp_path / "hub", listen), nodes_ready=take_the_port)


def test_replies_are_not_held_back_for_acknowledgements(tmp_path: Path) -> None:
    # asyncio sets TCP_NODELAY by the listener's protocol number; 0 would cost 40 ms a reply.
    with web_server.listen(settings_for(tmp_path, "127.0.0.1:0")) as listener:
        assert listener.proto == socket.IPPROTO_TCP


async def test_the_hub_ends_at_once_with_streams_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with aiohttp.ClientSession() as session:
        async with running_hub(tmp_path) as hub:
            node = await hub.enrol("a")
            live = await session.get(f"{hub.address}/live", headers=hub.person)
            assert await live.content.readline() == b"retry: 1000\n"
            link = await session.ws_connect(f"{hub.address}/sync/v1/link", headers=hub.node(node))
            logs = asyncio.create_task(
                session.get(f"{hub.address}/api/v1/nodes/a/logs/w?follow=true", headers=hub.person)
            )
            assert (await next_frame(link)).type is aiohttp.WSMsgType.TEXT
        async with asyncio.timeout(30):
            while await live.content.read(65536):
                pass
            assert (await next_frame(link)).type is aiohttp.WSMsgType.CLOSE
        assert (await logs).status == 503
        await link.close()
    assert [record for record in caplog.records if record.levelno >= 40] == []


def test_the_admin_token_is_private_and_stays(tmp_path: Path) -> None:
    token = admin_token.load_or_create(tmp_path, RealDisk())
    path = tmp_path / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert admin_token.load_or_create(tmp_path, RealDisk()) == token
    path.write_text("short")
    with pytest.raises(InvalidInput, match="Delete the file"):
        admin_token.load_or_create(tmp_path, RealDisk())


def test_the_admin_token_is_made_on_a_file_system_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    token = admin_token.load_or_create(tmp_path, RealDisk())
    assert admin_token.load_or_create(tmp_path, RealDisk()) == token
    assert [path.name for path in tmp_path.iterdir()] == [admin_token.FILE_NAME]


async def test_when_a_node_was_last_heard_of_outlives_the_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        node = await hub.enrol("a")
        before = SystemClock().wall_ns()
        async with (
            aiohttp.ClientSession(hub.address) as client,
            client.post(
                "/sync/v1/pull", data=encode(Pull(None, "")), headers=hub.node(node)
            ) as response,
        ):
            assert response.status == 200
    async with running_hub(tmp_path) as hub, aiohttp.ClientSession(hub.address) as client:
        [view] = json.loads(await text_of(client, "/api/v1/nodes", hub.person))
        assert before <= view["last_seen"] < before + 60 * NS
