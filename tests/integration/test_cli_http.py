"""What the command line makes of odd answers: every one is a Skerry error with a sentence, never a traceback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from skerry.cli.http import Unreachable, hub_api, node_api
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, Transient
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

    app = web.Application()
    app.router.add_get("/{status:\\d+}", answer)
    app.router.add_get("/half", half)
    app.router.add_get("/healthz", secret)
    runner = web.AppRunner(app)
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
    async with hub_api("http://127.0.0.1:1", token_file) as hub:
        with pytest.raises(Unreachable, match=r"connection refused. Start it with «skerry up»"):
            await hub.get("/healthz", Health)
    with pytest.raises(Unreachable, match=r"no administrator's token at /nowhere"):
        async with hub_api("http://127.0.0.1:1", Path("/nowhere")):
            pass
    with pytest.raises(InvalidInput, match=r"UNIX sockets take at most 107"):
        async with node_api(short_dir / ("x" * 100)):
            pass
