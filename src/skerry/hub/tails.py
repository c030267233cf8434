"""Log tails of any node of the fleet: from its live link here, or through the hub process that holds it.

Between processes they travel over HTTP, by the same route that people use and with the administrator's token, which
all processes have. `api.people` asks.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import aiohttp

from skerry.hub.channel import Tail
from skerry.hub.link import FIRST_ANSWER, Links
from skerry.hub.peers import Peers
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, Transient
from skerry.wire.codec import decode
from skerry.wire.people import Problem

FORWARDED = "Skerry-Forwarded"
"""Header of a request that another hub process passes on: it is passed on once."""

ASKED_BY = "Skerry-Asked-By"
"""Header beside it: the person who asks, percent-encoded, for the node's audit log."""

_ERRORS: Mapping[int, type[SkerryError]] = {400: InvalidInput, 404: NotFound, 409: Refused}


class Texts(Protocol):
    """Texts for one reader, who closes them when done."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def close(self) -> None: ...


class Tails:
    """Opens log tails."""

    def __init__(self, links: Links, peers: Peers, admin_token: str) -> None:
        self._links = links
        self._peers = peers
        self._admin_token = admin_token

    async def open(
        self, node_id: str, node: str, workload: str, arguments: dict[str, str], *, forwarded: bool
    ) -> Texts:
        """Lines of a workload's log; `node` is what the node was called. Raises as `Links.open`, and Transient when the other process does not answer."""
        if not forwarded and not self._links.connected(node_id):
            holder = await self._peers.holder(node_id)
            if holder is not None:
                path = f"{holder}/api/v1/nodes/{node}/logs/{workload}"
                return await _forward(path, arguments, self._admin_token)
        wanted = {"workload": workload, **arguments}
        return Tail(await self._links.open(node_id, node, "logs", wanted))


class _Forwarded:
    """The answer of another hub process."""

    def __init__(self, session: aiohttp.ClientSession, answer: aiohttp.ClientResponse) -> None:
        self._session = session
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            async for chunk in self._answer.content.iter_any():
                yield decoder.decode(chunk)
        except (aiohttp.ClientError, OSError) as error:
            raise Transient("cannot read on: the hub that holds the node's link ended") from error

    async def close(self) -> None:
        self._answer.close()
        await self._session.close()


async def _forward(path: str, arguments: dict[str, str], token: str) -> _Forwarded:
    headers = {"Authorization": f"Bearer {token}", FORWARDED: "1"}
    patience = aiohttp.ClientTimeout(total=None, connect=2.0, sock_read=None)
    async with contextlib.AsyncExitStack() as unless_answered:
        session = aiohttp.ClientSession(headers=headers, timeout=patience)
        unless_answered.push_async_callback(session.close)
        try:
            # The other one waits for its node so long before it begins to answer.
            async with asyncio.timeout(2 * FIRST_ANSWER):
                answer = await session.get(path, params=arguments, allow_redirects=False)
            await check_answer(answer)
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(
                "cannot reach the hub that holds the node's link. Try again in a few seconds."
            ) from error
        unless_answered.pop_all()
    return _Forwarded(session, answer)


async def check_answer(answer: aiohttp.ClientResponse) -> None:
    """Raises what another hub process says instead of answering."""
    if answer.status != 200:
        words = decode(await answer.read(), Problem, "the other hub's answer").error
        raise _ERRORS.get(answer.status, Transient)(words)
