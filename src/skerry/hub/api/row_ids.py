"""Ids of rows in the paths of requests: an escaped slash («%2F») is a part of the id, where routes would see two parts."""

from __future__ import annotations

from urllib.parse import unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_ROUTES = ("/api/v1/entities/", "/api/v1/conflicts/")

_SLASH = "\0"
"""Stands for an escaped slash until `row_id`: no id has it."""


class EscapedSlashes:
    """Before the routes are looked at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["path"].startswith(_ROUTES):
            parts = scope["raw_path"].decode("ascii").split("/")
            scope["path"] = "/".join(unquote(each).replace("/", _SLASH) for each in parts)
        await self._app(scope, receive, send)


def row_id(part: str) -> str:
    """The id that a part of a path is."""
    return part.replace(_SLASH, "/")
