"""What holds for every request: who asks, what is theirs, how errors are told.

A token is the whole of a caller's rights: what is not its own is answered as if it were not there. Errors are
`{"detail": "…"}`, as Cyberwave's clients read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar

from aiohttp.helpers import RequestKey
from aiohttp.typedefs import Middleware

from skerry.core.cyberwave.names import is_uuid
from skerry.core.merging.bodies import Body, Value, decoded
from skerry.kit.errors import (
    Busy,
    InvalidInput,
    NotFound,
    Refused,
    SkerryError,
    StorageFull,
    TooLarge,
    Transient,
)
from skerry.kit.one_line import one_line
from skerry.node.api import web
from skerry.node.api.answers import Handler, json_answer
from skerry.node.twin_ports import Grant, Tokens
from skerry.node.twins.rows import Twin, TwinStore
from skerry.wire.codec import decode

MAX_BODY = 1024 * 1024
"""Bytes of a request's body."""

MOST_AT_ONCE = 16
"""Requests of one program."""

SIGNED = "/files/"
"""How paths begin that carry their own permission."""

T = TypeVar("T")

_GRANT = RequestKey("grant", Grant)
_SCHEMES = ("bearer", "token")


_STATUSES: Mapping[type[SkerryError], HTTPStatus] = {
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    Refused: HTTPStatus.CONFLICT,
    Busy: HTTPStatus.TOO_MANY_REQUESTS,
}
"""What is a kind of another one comes first."""


def detail(status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error as Cyberwave's clients read it."""
    answer = json_answer({"detail": words}, status)
    answer.headers.update(headers or {})
    return answer


def status_of(error: SkerryError) -> int:
    """The HTTP status for an expected error."""
    kinds = (kind for kind in _STATUSES if isinstance(error, kind))
    return _STATUSES.get(next(kinds, Transient), HTTPStatus.SERVICE_UNAVAILABLE)


@web.middleware
async def details(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Expected errors become details with their status; the rest is a 500 with a logged traceback."""
    try:
        return await handler(request)
    except SkerryError as error:
        later = {"Retry-After": str(error.after)} if isinstance(error, Busy) else None
        return detail(status_of(error), str(error), later)
    except web.RequestPayloadError as error:
        return detail(400, f"cannot read the body: {one_line(str(error))}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return detail(error.status, error.reason)


def only_for_holders(tokens: Tokens) -> Middleware:
    """Lets in who holds a token, and to SIGNED everybody. Nobody takes all connections by requests that do not end."""
    under_way = Counter[str]()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(SIGNED):
            return await handler(request)
        grant = tokens.grant_of(token_in(request))
        if grant is None:
            words = "cannot answer: the request has no token that holds. It ends with the driver or worker that it was given to."
            return detail(401, words, {"WWW-Authenticate": "Bearer"})
        if under_way[grant.workload] >= MOST_AT_ONCE:
            raise Busy(f"cannot answer: {MOST_AT_ONCE} requests of this program are under way")
        request[_GRANT] = grant
        under_way[grant.workload] += 1
        try:
            return await handler(request)
        finally:
            under_way[grant.workload] -= 1
            if not under_way[grant.workload]:
                del under_way[grant.workload]

    return guard


def token_in(request: web.Request) -> str:
    """What stands in the header; empty for nothing that could be a token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() in _SCHEMES else ""


def grant_in(request: web.Request) -> Grant:
    """Whose request it is."""
    return request[_GRANT]


def named(request: web.Request, name: str) -> str:
    """What the path says at a place; a UUID as rows have it, in whatever letters it came."""
    return uuid_or(request.match_info[name])


def uuid_or(text: str) -> str:
    """A UUID with dashes in lower case; what is none stays as it is."""
    small = text.lower()
    return small if is_uuid(small) else text


def no_such(what: str, name: str) -> NotFound:
    """For what is not there, and for what is not the caller's."""
    return NotFound(
        f"cannot find {what} «{one_line(name[:80])}»: there is none that this token is for"
    )


def twin_in(request: web.Request, twins: TwinStore) -> Twin:
    """The twin that the path names. Raises NotFound for one that is not the caller's."""
    uuid = named(request, "twin")
    twin = twins.twin(uuid) if uuid in grant_in(request).twins else None
    if twin is None:
        raise no_such("twin", uuid)
    return twin


async def body_in(request: web.Request) -> Body:
    """A JSON object; an empty body is an empty one. Raises InvalidInput, TooLarge."""
    return decoded(await _text(request) or b"{}")


async def read(request: web.Request, kind: type[T], what: str) -> T:
    """The body as a validated `kind`. Raises InvalidInput, TooLarge."""
    return decode(await _text(request), kind, what)


async def _text(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge(f"cannot read the body: it has more than {MAX_BODY} bytes") from error


def page(request: web.Request, default: int, most: int) -> tuple[int, int]:
    """The query's `limit` and `offset`. Raises InvalidInput."""
    return min(_number(request, "limit", default), most), _number(request, "offset", 0)


def listed(request: web.Request, found: Sequence[Value | Mapping[str, object]]) -> web.Response:
    """The part of a list that the query asks for; all of it where it says nothing. Raises InvalidInput."""
    limit, offset = page(request, len(found), len(found))
    return json_answer(found[offset : offset + limit])


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(f"cannot read {name}=«{one_line(text[:40])}»: a whole number is needed")
    return int(text)
