"""What one hub process asks of another, which holds a node's link: the same routes that people use.

With the administrator's token, which all processes have. A request is passed on once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import aiohttp

from skerry.kit.authorities import authorities
from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, Transient
from skerry.wire.codec import decode
from skerry.wire.people import Problem

FORWARDED = "Skerry-Forwarded"
"""Header of a request that another hub process passes on: it is passed on once."""

ASKED_BY = "Skerry-Asked-By"
"""Header beside it: the person who asks, percent-encoded, for the node's audit log."""

_ERRORS: Mapping[int, type[SkerryError]] = {400: InvalidInput, 404: NotFound, 409: Refused}


_TRUSTED = authorities()


def connections() -> aiohttp.TCPConnector:
    """To another hub process, verified as the system does: aiohttp's own context trusts nobody in a process of `skerry`."""
    return aiohttp.TCPConnector(ssl=_TRUSTED)


class Answer:
    """The body of an answer as it comes, for one reader, who closes it. Raises Transient when it breaks off."""

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


async def ask(
    url: str,
    token: str,
    *,
    first: float,
    whole: float | None = None,
    arguments: Mapping[str, str] = {},
    headers: Mapping[str, str] = {},
) -> Answer:
    """GET: the other one begins to answer within `first` seconds, and has ended within `whole`.

    Raises what it says instead of answering, and Transient when it cannot be reached.
    """
    own = {"Authorization": f"Bearer {token}", FORWARDED: "1"}
    patience = aiohttp.ClientTimeout(total=whole, connect=2.0)
    async with contextlib.AsyncExitStack() as unless_answered:
        session = aiohttp.ClientSession(
            connector=connections(), headers=own | dict(headers), timeout=patience
        )
        unless_answered.push_async_callback(session.close)
        try:
            async with asyncio.timeout(first):
                answer = await session.get(url, params=arguments, allow_redirects=False)
            await check_answer(answer)
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(
                "cannot reach the hub that holds the node's link. Try again in a few seconds."
            ) from error
        unless_answered.pop_all()
    return Answer(session, answer)


async def check_answer(answer: aiohttp.ClientResponse) -> None:
    """Raises what another hub process says instead of answering."""
    if answer.status != 200:
        words = decode(await answer.read(), Problem, "the other hub's answer").error
        raise _ERRORS.get(answer.status, Transient)(words)
