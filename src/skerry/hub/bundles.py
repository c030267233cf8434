"""Diagnostics bundles of any node of the fleet: from its live link here, or through the hub process that holds it.

Between processes they travel over HTTP, by the same route that people use, as log tails do (`tails`). The hub keeps
nothing of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol
from urllib.parse import quote

import aiohttp

from skerry.hub.channel import Channel
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.tails import ASKED_BY, FORWARDED, check_answer
from skerry.kit.errors import Refused, Transient
from skerry.wire.bundles import KIND, LONGEST, MOST_BYTES
from skerry.wire.link import Bytes


class Pieces(Protocol):
    """Bytes for one reader, who closes them when done. Raise what ended them early."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Bundles:
    """Asks nodes for bundles."""

    def __init__(self, links: Links, peers: Peers, admin_token: str) -> None:
        self._links = links
        self._peers = peers
        self._admin_token = admin_token

    async def open(self, node_id: str, node: str, *, by: str, forwarded: bool) -> Pieces:
        """The bytes of a new bundle, for `by`; `node` is what the node was called. Raises as `Links.open`, and Transient when the other process does not answer."""
        if not forwarded and not self._links.connected(node_id):
            holder = await self._peers.holder(node_id)
            if holder is not None:
                path = f"{holder}/api/devices/{node_id}/diagnostics"
                return await _forward(path, self._admin_token, by)
        return _Direct(await self._links.open(node_id, node, KIND, {"by": by}))


class _Direct:
    """A channel on a link of this process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Bytes):  # nothing else has a meaning here
                left -= len(message.data)
                if left < 0:
                    raise Refused(
                        f"cannot take the diagnostics bundle: the node sends more than {MOST_BYTES >> 20} MiB"
                    )
                yield message.data

    async def close(self) -> None:
        self._channel.close()


class _Forwarded:
    """The answer of another hub process, which has counted the bytes."""

    def __init__(self, session: aiohttp.ClientSession, answer: aiohttp.ClientResponse) -> None:
        self._session = session
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._answer.content.iter_any():
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(
                "cannot read on: the hub that holds the node's link ended it"
            ) from error

    async def close(self) -> None:
        self._answer.close()
        await self._session.close()


async def _forward(path: str, token: str, by: str) -> _Forwarded:
    headers = {"Authorization": f"Bearer {token}", FORWARDED: "1", ASKED_BY: quote(by)}
    # The other one answers when the node has the first bytes.
    patience = aiohttp.ClientTimeout(total=LONGEST, connect=2.0)
    async with contextlib.AsyncExitStack() as unless_answered:
        session = aiohttp.ClientSession(headers=headers, timeout=patience)
        unless_answered.push_async_callback(session.close)
        try:
            answer = await session.get(path, allow_redirects=False)
            await check_answer(answer)
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(
                "cannot reach the hub that holds the node's link. Try again in a few seconds."
            ) from error
        unless_answered.pop_all()
    return _Forwarded(session, answer)
