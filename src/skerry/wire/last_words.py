"""A whole HTTP answer as bytes, for a connection whose request never reaches a handler. Hub and node share it."""

from __future__ import annotations

from http import HTTPStatus

from skerry.wire.codec import encode
from skerry.wire.people import Problem

CROWDED = "cannot serve you now: too many connections are open. Close some, or try again later."
LATE = "cannot read the request: the rest of it did not come in time"
NO_HTTP = "cannot read the request: it is not HTTP"


def last_words(status: HTTPStatus, problem: str) -> bytes:
    """A Problem with its head; the connection ends with it."""
    body = encode(Problem(problem))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
