"""A fleet with certificates as tests ask it: what its hub says of roots, and what nodes are answered with which certificate."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import aiohttp

from skerry.kit.clock import SystemClock
from skerry.testing.running_hub import (
    CertifiedNode,
    RunningHub,
    client_context,
    csr_of,
    secure_session,
)
from skerry.wire.codec import decode, encode
from skerry.wire.sync import Hello
from skerry.wire.trust import Renew, Renewed, TrustView

T = TypeVar("T")


class QuickClock(SystemClock):
    """The machine's clock, but nobody sleeps for longer than a moment: what is done now and then is done at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


async def ask(hub: RunningHub, method: str, path: str, kind: type[T], status: int = 200) -> T:
    async with (
        aiohttp.ClientSession(hub.address, headers=hub.person) as session,
        session.request(method, path) as response,
    ):
        answer = await response.read()
        assert response.status == status, answer
        return decode(answer, kind, path)


async def bundle(hub: RunningHub) -> int:
    return (await ask(hub, "GET", "/api/v1/trust", TrustView)).number


async def closing(link: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(30):
        async for _ in link:
            pass
    return link.close_code


async def greet_with(
    hub: RunningHub, node: CertifiedNode, roots: list[str], certificate: str, trust: int = 2
) -> int:
    hello = Hello((1, 1), "11" * 16, "0.1.0", "boot-1", trust=trust)
    context = client_context(roots, certificate, node.key)
    async with (
        secure_session(hub.nodes_address, context) as session,
        session.post("/sync/v1/hello", data=encode(hello)) as response,
    ):
        return response.status


async def renew(hub: RunningHub, node: CertifiedNode, roots: list[str]) -> Renewed:
    context = client_context(roots, node.certificate, node.key)
    async with (
        secure_session(hub.nodes_address, context) as session,
        session.post("/trust/v1/renew", data=encode(Renew(csr_of(node.key)))) as response,
    ):
        return decode(await response.read(), Renewed, "renewed")
