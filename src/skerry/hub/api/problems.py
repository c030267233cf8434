"""Errors as HTTP answers: every one is a `wire.people.Problem` with a fitting status, never a traceback."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.routes import HTTPRoute
from litestar.types import ExceptionHandler

from skerry.hub.api.auth import Misdirected, NotAllowed, NotAuthenticated, OutOfService
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
from skerry.wire.codec import MAX_BODY
from skerry.wire.devices import Retired
from skerry.wire.people import Problem

log = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, Any]

_STATUS: tuple[tuple[type[SkerryError], int], ...] = (
    (NotAuthenticated, 401),
    (NotAllowed, 403),
    (Misdirected, 421),
    (TooLarge, 413),
    (InvalidInput, 400),
    (NotFound, 404),
    (StorageFull, 507),
    (Refused, 409),
    (Busy, 429),
    (Transient, 503),
    (SkerryError, 500),
)
_GONE = "client disconnected prematurely"
"""Litestar's words when a connection ends in the middle of a body: nobody reads the answer, and it is no bug."""

_HEADERS = {
    # What a node's connection has proved stays what it is: with its next certificate it needs another connection.
    401: {"WWW-Authenticate": "Bearer", "Connection": "close"},
    503: {"Retry-After": "1"},
}


def status_of(error: SkerryError) -> int:
    """The HTTP status for an error: the first class in the table that fits."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def words_of(error: HTTPException, method: str, path: str) -> str:
    """The sentence for an error that the HTTP framework found."""
    match error:
        case ValidationException(extra=[*found]):
            return f"cannot read {method} {path}: {'; '.join(map(_finding, found))}"
        case HTTPException(status_code=404):
            return f"cannot {method} {path}: there is no such route. /schema lists all."
        case HTTPException(status_code=405):
            return f"cannot {method} {path}: the route has other methods. /schema lists all."
        case HTTPException(status_code=413):
            return f"cannot read the body of {method} {path}: at most {MAX_BODY} bytes are read"
        case _:
            return f"cannot {method} {path}: {error.detail}"


def answer_error(_: AnyRequest, error: SkerryError) -> Response[Problem]:
    """Answers what Skerry itself raised."""
    if isinstance(error, Busy):
        return _answer(429, str(error), {"Retry-After": str(error.after)})
    return _answer(status_of(error), str(error))


def answer_http_error(request: AnyRequest, error: HTTPException) -> Response[Problem]:
    """Answers what the HTTP framework raised: no such route, wrong method, wrong parameters."""
    if isinstance(error, InternalServerException) and error.detail == _GONE:
        return _answer(400, "cannot read the request: the connection ended before it")
    if error.status_code >= 500:
        return answer_surprise(request, error)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else None
    return _answer(error.status_code, words_of(error, request.method, request.url.path), headers)


def answer_surprise(request: AnyRequest, error: Exception) -> Response[Problem]:
    """Answers a bug: the log has the traceback, the client learns only that it is there."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(
        500, f"cannot {request.method} {request.url.path}: the hub failed. Its log says why."
    )


def answer_retired(_: AnyRequest, error: OutOfService) -> Response[Retired]:
    """Answers the hello of a device that is out of service."""
    return Response(Retired(str(error), error.order), status_code=410)


HANDLERS: dict[int | type[Exception], ExceptionHandler[Any]] = {
    OutOfService: answer_retired,
    SkerryError: answer_error,
    HTTPException: answer_http_error,
    Exception: answer_surprise,
}


def _allowed(request: AnyRequest) -> str:
    """The methods of the route that was asked for, as RFC 9110 wants them told with 405."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, HTTPRoute) and _leads_to(route, request.url.path):
            methods |= route.methods
    return ", ".join(sorted(methods))


def _leads_to(route: HTTPRoute, path: str) -> bool:
    asked, parts = path.strip("/").split("/"), route.path_components
    return len(asked) == len(parts) and all(
        part == word for part, word in zip(parts, asked, strict=True) if isinstance(part, str)
    )


def _answer(status: int, words: str, headers: dict[str, str] | None = None) -> Response[Problem]:
    headers = headers or _HEADERS.get(status)
    return Response(Problem(words), status_code=status, headers=headers)


def _finding(found: dict[str, str]) -> str:
    if found.get("source") == "body":
        return "the request has no body"
    return f"{found.get('key', 'request')}: {found.get('message', 'is wrong')}"
