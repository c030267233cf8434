"""What only browsers do: send cookies by themselves, on behalf of pages that others wrote, and say where those are from."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

Connection = ASGIConnection[Any, Any, Any, Any]

_CHANGES = {"POST", "PUT", "PATCH", "DELETE"}
_OWN_PAGE = {"same-origin", "none"}
"""Values of Sec-Fetch-Site: a page of this hub, or the person's own doing (address bar, bookmark, another program)."""

_HOST_PREFIX = "__Host-"
"""Browsers take such a cookie over https only, for one host, and from nobody else."""


def changes_without_token(connection: Connection) -> bool:
    """Whether a page could have made the browser send this request: it may change something and shows no token."""
    return connection.scope.get("method") in _CHANGES and "authorization" not in connection.headers


def is_of_a_browser(connection: Connection) -> bool:
    """Whether the request says where it is from, as every browser does with what may change something."""
    return "origin" in connection.headers or "sec-fetch-site" in connection.headers


def is_from_elsewhere(connection: Connection) -> bool:
    """Whether a page of another origin made the browser send this."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site.lower() not in _OWN_PAGE
    # Older browsers, and those that find the connection not trustworthy.
    origin = connection.headers.get("origin")
    if origin is None:
        return False
    host = connection.headers.get("host", "")
    return not host or urlsplit(origin).netloc.lower() != host.lower()


def is_secure(connection: Connection) -> bool:
    """Whether the browser speaks https: with the hub itself, or with a proxy before it."""
    said = (connection.headers.get("origin", ""), connection.headers.get("x-forwarded-proto", ""))
    return connection.scope.get("scheme") == "https" or any(
        each.startswith("https") for each in said
    )


def cookie_name(connection: Connection, name: str) -> str:
    """What a cookie is called that is set now."""
    return f"{_HOST_PREFIX}{name}" if is_secure(connection) else name


def cookie_of(connection: Connection, name: str) -> str | None:
    """The cookie that the browser sent."""
    cookies = connection.cookies
    return cookies.get(f"{_HOST_PREFIX}{name}") or cookies.get(name)
