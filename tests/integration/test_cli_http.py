"""What the command line makes of odd answers: every one is a Skerry error with a sentence, never a traceback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from skerry.cli.health import examined
from skerry.cli.http import (
    AWAY,
    CHECKS_SECONDS,
    HERE,
    Patience,
    Unreachable,
    hub_api,
    is_here,
    node_api,
)
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, Transient
from skerry.node.settings import admin_socket
from skerry.wire.people import Health, Rows


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.StreamResponse:
        status = int(request.match_info["status"])
        headers = {"Location": "http://127.0.0.1:1/"} if 300 <= status < 400 else {}
        return web.Response(status=status, text=request.query.get("body", ""), headers=headers)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write("zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf".encode()[:3])
        assert request.transport is not None
        request.transport.abort()
        return response

    async def secret(request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok", "version": request.headers["Authorization"]})

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=int(request.query["status"]))
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"[" * 1_000_000)
        return response

    async def mute(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    async def frozen(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_get("/frozen", frozen)
    app.router.add_get("/endless", endless)
    app.router.add_get("/mute", mute)
    app.router.add_post("/mute", mute)
    app.router.add_get("/{status:\\d+}", answer)
    app.router.add_get("/half", half)
    app.router.add_get("/healthz", secret)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret-token\n")
    return path


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/400?body={\"error\":\"cannot so\"}", InvalidInput, "cannot so"),
        ("/401?body={\"error\":\"who are you?\"}", Refused, "who are you? The token is from "),
        ("/404?body={\"error\":\"cannot find it\"}", NotFound, "cannot find it"),
        ("/409?body={\"error\":\"not now\"}", Refused, "not now"),
        ("/507?body={\"error\":\"full\"}", Refused, "full"),
        ("/503?body={\"error\":\"later\"}", Transient, "later"),
        ("/500?body=<html>", Transient, " answered 500 Internal Server Error"),
        ("/302", Transient, " answered 302 Found"),
        ("/200?body=not json", InvalidInput, "cannot read the answer of the hub at "),
        ("/200?body={\"rows\":5}", InvalidInput, "Expected `array`, got `int`"),
        ("/half", Unreachable, "cannot reach the hub at "),
    ],
)  # fmt: skip
async def test_odd_answers(
    url: str, token_file: Path, path: str, kind: type[SkerryError], words: str
) -> None:
    async with hub_api(url, token_file) as hub:
        with pytest.raises(kind) as caught:
            await hub.get(path, Rows)
    assert words in str(caught.value)
    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
async def test_an_endless_answer_is_not_taken(url: str, token_file: Path, status: int) -> None:
    async with hub_api(url, token_file) as hub:
        with pytest.raises(Refused, match=r"it has more than 64 MiB\. Ask for less"):
            await hub.get(f"/endless?status={status}", Rows)


async def test_an_answer_that_stops_is_not_waited_for(url: str, token_file: Path) -> None:
    async with hub_api(url, token_file) as hub:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await hub.patient(0.2).get("/mute", Rows)
        with pytest.raises(
            Unreachable, match=r"no answer within 0\.2 s\. It may be carried out all the same"
        ):
            await hub.patient(0.2).order("POST", "/mute")
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await anext(hub.patient(0.2).text("/frozen"))


async def test_an_agent_that_is_frozen_is_not_advised_to_be_started(short_dir: Path) -> None:
    """Its socket is there and takes connections, its lock says who it is."""
    (short_dir / "node.lock").write_text("4711\n")
    path = admin_socket(short_dir)
    path.parent.mkdir()
    words = "process 4711 lives but does not answer"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        async with node_api(short_dir, Patience(0.2, 0.2)) as node:
            with pytest.raises(Unreachable, match=f"{words}\\. If it is stopped: kill -CONT 4711"):
                await anext(node.text("/v1/logs/a"))
            async with asyncio.timeout(CHECKS_SECONDS / 2):
                (check,) = await examined(node)
    assert (check.name, check.outcome) == ("node", "failed")
    assert check.detail.endswith(words)
    assert "kill -9 4711 and start it again; its workloads go on" in check.fix


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8600", True), ("http://127.3.4.5:1", True), ("http://[::1]:8600", True),
        ("http://localhost:8600", True), ("http://10.0.0.1:8600", False), ("http://hub:8600", False),
    ],
)  # fmt: skip
def test_what_is_on_this_machine_gets_less_time(url: str, here: bool) -> None:
    assert is_here(url) is here
    assert HERE.connect <= 2.0 < AWAY.connect
    assert HERE.answer <= 5.0 < AWAY.answer


async def test_a_black_hole_is_not_connected_to_for_long(token_file: Path) -> None:
    """A listener whose queue is full takes no connection, as a firewall that drops packets."""
    with socket.socket() as listener, contextlib.ExitStack() as filling:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = filling.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        async with hub_api(f"http://127.0.0.1:{address[1]}", token_file) as hub:
            with pytest.raises(Unreachable, match=r"no connection within 2 s"):
                await hub.get("/healthz", Health)


async def test_the_token_is_sent_as_its_file_says(url: str, token_file: Path) -> None:
    async with hub_api(url, token_file) as hub:
        assert (await hub.get("/healthz", Health)).version == "Bearer secret-token"


@pytest.mark.parametrize("content", [b"", b"two words", b"two\nlines", b"\xff\xfe\x00"])
async def test_a_file_that_holds_no_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"it holds no token"):
        async with hub_api("http://127.0.0.1:1", path):
            pass


async def test_a_text_answer_that_breaks_off(url: str, token_file: Path) -> None:
    got = ""

    async def copy() -> None:
        nonlocal got
        async with hub_api(url, token_file) as hub:
            async for piece in hub.text("/half"):
                got += piece

    with pytest.raises(Unreachable):
        await copy()
    assert got == "zw"  # half a character is not shown


async def test_garbage_instead_of_http(short_dir: Path) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00\xff\xfe garbage\r\n\r\n")
        writer.close()

    (short_dir / "run").mkdir()
    server = await asyncio.start_unix_server(garbage, short_dir / "run" / "admin.sock")
    async with server, node_api(short_dir) as node:
        with pytest.raises(Unreachable, match=r"cannot reach the node in .*: .*skerry node run"):
            await node.get("/v1/status", Health)


async def test_nobody_there(short_dir: Path, token_file: Path) -> None:
    async with node_api(short_dir) as node:
        with pytest.raises(Unreachable, match=r"it is not running. Start it with «skerry node run"):
            await node.get("/v1/status", Health)
    (short_dir / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(short_dir / "run" / "admin.sock"))
    async with node_api(short_dir) as node:
        with pytest.raises(Unreachable, match=r"it is not running. Start it with «skerry node run"):
            await node.get("/v1/status", Health)
    async with hub_api("http://127.0.0.1:1", token_file) as hub:
        with pytest.raises(Unreachable, match=r"connection refused. Start it with «skerry up»"):
            await hub.get("/healthz", Health)
    with pytest.raises(Unreachable, match=r"no token at /nowhere"):
        async with hub_api("http://127.0.0.1:1", Path("/nowhere")):
            pass
    with pytest.raises(InvalidInput, match=r"UNIX sockets take at most 107"):
        async with node_api(short_dir / ("x" * 100)):
            pass


@pytest.mark.guarantee("G10")
async def test_a_token_goes_in_the_clear_to_this_machine_only(token_file: Path) -> None:
    for url in ("http://192.0.2.1:8600", "http://hub.invalid:8600"):
        with pytest.raises(Refused, match=r"the token would travel in the clear. Use its https"):
            async with hub_api(url, token_file):
                pass
        async with hub_api(url, None), hub_api(url.replace("http", "https"), token_file):
            pass
