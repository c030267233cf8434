"""What strangers get at loopback ports: nothing for another host's page, and noise is answered without an echo."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.ports import free_port

from skerry.kit.own_hosts import own_hosts
from skerry.node.api.admin import public_app
from skerry.node.api.sites import Apps, LocalApi
from skerry.testing.running_hub import RunningHub, running_hub

MARK = b"sensitive-marker"
NOISE = {
    "no HTTP": b"\x00\xff" + MARK + b"\r\n\r\n",
    "a strange method": MARK + b"\x01 / HTTP/1.1\r\n\r\n",
    "a strange version": b"GET / HTTP/9.9" + MARK + b"\r\n\r\n",
    "a TLS greeting": bytes.fromhex("16030100f1010000ed0303") + MARK + bytes(64),
    "a long line": b"GET /" + MARK * 2000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + MARK * 2000 + b"\r\n\r\n",
    "a broken header": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + MARK + b"\x00: x\r\n\r\n",
    "a broken length": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    + MARK
    + b"\r\n\r\n",
    "a broken chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + MARK + b"\r\nabc\r\n",
}


LONG = {"a long line", "a long header"}
"""The hub reads such requests: they are long, and whole."""


class NoServices:
    """Of the routes that are asked here, none needs a service."""


@pytest.fixture
async def port(short_dir: Path) -> AsyncIterator[int]:
    services: Any = NoServices()
    api, own_port = LocalApi(short_dir), free_port()
    public = public_app(services, own_hosts("edge-1"))
    await api.start(Apps(web.Application(), web.Application(), public), own_port)
    yield own_port
    await api.stop()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as running:
        yield running


async def answer_of(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    came = b""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while piece := await reader.read(65536):
                came += piece
    writer.close()
    return came


def problem_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head, answer
    return str(json.loads(body)["error"])


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("127.0.0.1:1234", 200), ("[::1]", 200), ("edge-1", 200),
        ("evil.example", 421), ("localhost.evil.example:8000", 421), ("", 421),
    ],
)  # fmt: skip
async def test_the_read_only_port_answers_for_this_machine_only(
    port: int, host: str, status: int
) -> None:
    for path in ("/healthz", "/nothing"):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answer = await answer_of(port, request.encode())
        expected = 404 if path == "/nothing" and status == 200 else status
        assert int(answer[9:12]) == expected
        assert status == 200 or "another host" in problem_of(answer)


async def test_a_request_without_a_host_is_answered(port: int) -> None:
    assert (await answer_of(port, b"GET /healthz HTTP/1.0\r\n\r\n"))[9:12] == b"200"


@pytest.mark.guarantee("G9")
async def test_a_page_of_another_name_reads_nothing_at_the_hub(hub: RunningHub) -> None:
    evil = {"Host": "evil.example"}
    async with aiohttp.ClientSession(hub.address) as client:
        for path in ("/", "/healthz", "/schema", "/login", "/static/page.css", "/api/v1/nodes"):
            async with client.get(path, headers=evil, allow_redirects=False) as answer:
                assert (path, answer.status) == (path, 421)
                assert "set «hosts» in hub.yaml" in (await answer.json())["error"]
        # A token is no browser's: tools may come by any proxy.
        async with client.get("/api/v1/nodes", headers=evil | hub.person) as answer:
            assert answer.status == 200
        async with client.get("/healthz", headers={"Host": "localhost:1"}) as answer:
            assert answer.status == 200


async def test_a_proxys_name_can_be_allowed(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path, hosts="hub.example, hub.lan") as hub,
        aiohttp.ClientSession(hub.address) as client,
    ):
        for host, status in (("hub.example", 200), ("hub.lan:443", 200), ("hub", 421)):
            async with client.get("/healthz", headers={"Host": host}) as answer:
                assert answer.status == status


@pytest.mark.guarantee("G9")
@pytest.mark.parametrize("name", NOISE)
async def test_noise_is_not_echoed_and_leaves_no_traceback(
    port: int, hub: RunningHub, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    at_hub = int(hub.address.rpartition(":")[2])
    for at in [port] if name in LONG else [port, at_hub]:
        answer = await answer_of(at, NOISE[name])
        assert MARK not in answer
        if answer:
            assert answer[9:10] == b"4"
            assert problem_of(answer)
    assert [record for record in caplog.records if record.exc_info] == []
    assert MARK.decode() not in caplog.text


async def test_a_head_without_end_is_not_collected(hub: RunningHub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hub.address.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\n")
    for _ in range(8):
        writer.write(b"X: " + bytes(16 * 1024).replace(b"\0", b"x") + b"\r\n")
    async with asyncio.timeout(30):
        assert (await reader.readline())[9:12] == b"431"
    writer.close()
