"""A hub that leads elsewhere is not followed by whoever would show a token there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from skerry.cli.contexts import Context
from skerry.cli.http import Unreachable
from skerry.cli.output import Form, standard_screen
from skerry.cli.session import Session
from skerry.cli.tunnels import open_tunnel
from skerry.hub.api import admin_token
from skerry.hub.bundles import Bundles
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.settings import AccessSection
from skerry.hub.tails import Tails
from skerry.hub.tunnels import Tunnels
from skerry.kit.clock import SystemClock
from skerry.kit.errors import InvalidInput, Transient
from skerry.kit.ids import random_token
from skerry.wire.link import Opened, to_text

pytestmark = pytest.mark.guarantee("G10")


@contextlib.asynccontextmanager
async def served(answer: web.RequestHandler) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[str, list[str]]]:
    """A hub that leads elsewhere, and what was asked there."""
    asked: list[str] = []

    async def there(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request):
            return web.Response(text="all of it")
        await socket.prepare(request)
        await socket.send_str(to_text(Opened(0)))
        await socket.receive()
        return socket

    async with served(there) as other:

        async def here(request: web.BaseRequest) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(f"{other}{request.path}")

        async with served(here) as hub:
            yield hub, asked


async def test_by_the_command_line(tmp_path: Path, elsewhere: tuple[str, list[str]]) -> None:
    hub, asked = elsewhere
    token = tmp_path / admin_token.FILE_NAME
    token.write_text(random_token(32))
    target = Context(hub, token, tmp_path)
    session = Session(standard_screen(Form.TABLE), SystemClock(), target)
    with pytest.raises(Unreachable, match="it leads elsewhere"):
        async with open_tunnel(session, "n1", 22):
            pass
    assert asked == []


class Holder:
    """Says that another hub process holds each link."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def holder(self, _node_id: str) -> str:
        return self._address

    def connected(self, _node_id: str) -> bool:
        return False


async def test_by_another_hub_process(elsewhere: tuple[str, list[str]]) -> None:
    hub, asked = elsewhere
    there = Holder(hub)
    links, peers = cast("Links", there), cast("Peers", there)
    tunnels = Tunnels(links, peers, "token", AccessSection())
    with pytest.raises(Transient, match="cannot reach the hub that holds"):
        await tunnels.open("id-1", "n1", 22, by="ann", forwarded=False)
    with pytest.raises((Transient, InvalidInput)):
        await Tails(links, peers, "token").open("id-1", "n1", "w", {}, forwarded=False)
    with pytest.raises((Transient, InvalidInput)):
        await Bundles(links, peers, "token").open("id-1", "n1", by="ann", forwarded=False)
    assert asked == []
