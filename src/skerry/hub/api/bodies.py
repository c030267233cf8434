"""Bodies on the way in and out: zstd around them, msgspec inside them, and a limit on everything.

`ZstdBodies` unwraps requests with `Content-Encoding: zstd` and wraps larger replies for clients that
accept it, so that no route knows of compression. `WireBody` makes Litestar decode with `wire.codec`: strictly,
in one pass, keeping raw parts raw.
"""

from __future__ import annotations

from typing import Any, TypeVar

from litestar.datastructures import Headers
from litestar.datastructures.headers import MutableScopeHeaders
from litestar.dto import AbstractDTO
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPRequestEvent, Message, Receive, Scope, Send

from skerry.kit.errors import InvalidInput, TooLarge
from skerry.wire.codec import MAX_BODY, compress, decode, decompress

COMPRESS_FROM = 1024
"""Replies of at least so many bytes are compressed."""

T = TypeVar("T")


class WireBody(AbstractDTO[T]):
    """A JSON body as a wire value: `@post(…, dto=WireBody[PushUnit])`."""

    def decode_bytes(self, value: bytes) -> T:
        try:
            return decode(value, self.model_type, "the request")
        except InvalidInput as error:
            raise InvalidInput(f"{error}. What it must look like: /schema") from error

    @classmethod
    def create_for_field_definition(cls, *_: object, **__: object) -> None:
        """No transfer model: the wire value is what crosses the network."""


class ZstdBodies(ASGIMiddleware):
    """Decompresses requests and compresses replies."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = Headers.from_scope(scope)
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding == "zstd":
            receive = _Unwrapped(receive)
        elif encoding != "identity":
            receive = _Refused(encoding)
        if "zstd" in headers.get("accept-encoding", ""):
            send = _Wrapped(send)
        await next_app(scope, receive, send)


class _Unwrapped:
    """`receive` of a compressed request: reads it whole at the first call, so only after the guard has passed."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = False

    async def __call__(self) -> Any:  # noqa: ANN401 - Litestar's union of ASGI events
        if self._read:
            return await self._receive()
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            event = await self._receive()
            if event["type"] != "http.request":
                return event
            parts.append(event["body"])
            size += len(event["body"])
            if size > MAX_BODY:
                raise TooLarge(f"cannot read the request: at most {MAX_BODY} bytes are read")
            more = event.get("more_body", False)
        self._read = True
        body = decompress(b"".join(parts), "the request")
        return HTTPRequestEvent(type="http.request", body=body, more_body=False)


class _Refused:
    """`receive` of a request in an encoding that is not spoken here."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    async def __call__(self) -> Any:  # noqa: ANN401 - never returns
        raise InvalidInput(
            f"cannot read the request: it is encoded as «{self._encoding}». Send zstd or no encoding."
        )


class _Wrapped:
    """`send` that compresses a reply when it comes in one piece; streams pass as they are."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None and message["type"] == "http.response.body":
            start, self._start = self._start, None
            whole = not message.get("more_body", False)
            if whole and len(message["body"]) >= COMPRESS_FROM:
                headers = MutableScopeHeaders.from_message(start)
                message["body"] = compress(message["body"])
                headers["Content-Encoding"] = "zstd"
                headers["Content-Length"] = str(len(message["body"]))
                headers["Vary"] = "Accept-Encoding"
            await self._send(start)
        await self._send(message)
