"""Turning results and errors into HTTP answers; shared by the three local apps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from aiohttp.typedefs import Middleware

from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, StorageFull, TooLarge
from skerry.kit.one_line import one_line
from skerry.kit.own_hosts import is_own_host
from skerry.node.api import web
from skerry.wire.codec import encode
from skerry.wire.people import Problem

T = TypeVar("T")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_answer(value: object, status: int = 200) -> web.Response:
    """`value` as JSON."""
    return web.Response(body=encode(value), status=status, content_type="application/json")


def status_of(error: SkerryError) -> int:
    """The HTTP status for an expected error."""
    match error:
        case TooLarge():
            return 413
        case InvalidInput():
            return 400
        case NotFound():
            return 404
        case StorageFull():
            return 507
        case Refused():
            return 409
        case _:
            return 503


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Expected errors become a Problem with their status; the rest is aiohttp's 500 with a logged traceback."""
    try:
        return await handler(request)
    except SkerryError as error:
        return json_answer(Problem(str(error)), status_of(error))
    except web.RequestPayloadError as error:
        return json_answer(Problem(f"cannot read the body: {one_line(str(error))}"), 400)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        words = error.text if isinstance(error, web.HTTPRequestEntityTooLarge) else error.reason
        return json_answer(
            Problem(f"cannot {request.method} {request.path}: {words}"), error.status
        )


def only_for(hosts: Collection[str]) -> Middleware:
    """Refuses requests that were meant for another host than one of these (`kit.own_hosts`)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_own_host(request.headers.get("Host"), hosts):
            return await handler(request)
        words = "cannot answer: the request is for another host. Ask for localhost or 127.0.0.1."
        return json_answer(Problem(words), 421)

    return check


async def stream_lines(
    request: web.Request,
    lines: AsyncIterator[str],
    content_type: str,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Sends lines as they come; ends when the reader goes or the source ends.

    The first line is awaited before the answer starts, so that an error still gets its own status.
    """
    first = await anext(lines, None)
    response = web.StreamResponse(headers={"Content-Type": content_type, **(headers or {})})
    await response.prepare(request)
    if first is not None:
        await response.write(f"{first}\n".encode())
        async for line in lines:
            await response.write(f"{line}\n".encode())
    return response


async def tell_lines(
    request: web.Request, work: Callable[[Callable[[T], Awaitable[None]]], Awaitable[None]]
) -> web.StreamResponse:
    """Sends what `work` tells, each as a line of JSON. An error before the first gets its own status."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

    async def tell(news: T) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(encode(news) + b"\n")

    await work(tell)
    return response


async def stream_bytes(request: web.Request, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    """Sends bytes as they come. The first are awaited before the answer starts, as in `stream_lines`."""
    first = await anext(pieces, b"")
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    await response.write(first)
    async for one in pieces:
        await response.write(one)
    return response


def integer(request: web.Request, name: str) -> int | None:
    """An optional integer of the query string. Raises InvalidInput."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InvalidInput(f"cannot read {name}=«{text}»: a whole number is needed") from error


def flag(request: web.Request, name: str) -> bool:
    """A yes/no of the query string; absent is no."""
    return request.query.get(name, "") in {"1", "true", "yes"}
