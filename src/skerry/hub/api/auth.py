"""Who is asking: the one place that turns a request into a Principal, and the one guard before every route.

A node shows `Bearer <node id>.<secret>`, a person `Bearer <admin token>` or, in a browser, a session
cookie. The cookie may only look (GET): browsers attach it by themselves, so it must never change anything.
Every route declares its permission in `opt`; one that declares none is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from skerry.hub.api.sessions import Sessions
from skerry.hub.fleet.nodes import Nodes
from skerry.kit.errors import SkerryError
from skerry.kit.own_hosts import is_own_host

Permission = Literal["anyone", "node", "person"]
Connection = ASGIConnection[Any, Any, Any, Any]

ANYONE: dict[str, Permission] = {"permission": "anyone"}
NODE: dict[str, Permission] = {"permission": "node"}
PERSON: dict[str, Permission] = {"permission": "person"}


class NotAuthenticated(SkerryError):
    """The request does not say, or cannot prove, who is asking."""


class NotAllowed(SkerryError):
    """The principal is known and may not use this route."""


class Misdirected(SkerryError):
    """The request is for a host that this hub is not."""


@dataclass(frozen=True)
class Principal:
    """Who is asking. `id` is the node's id, or «admin», or empty."""

    kind: Literal["node", "person", "nobody"]
    id: str
    fleet: str


AuthenticatedRequest = Request[Principal, None, State]


class Authenticator:
    """Knows the admin token, the nodes' secrets and the browser sessions of one hub; `hosts` are its own names."""

    def __init__(
        self,
        fleet: str,
        admin_token: str,
        nodes: Nodes,
        sessions: Sessions,
        hosts: Collection[str],
    ) -> None:
        self._hosts = hosts
        self._fleet = fleet
        self._admin_token = admin_token.encode()
        self._nodes = nodes
        self._sessions = sessions

    def principal(self, connection: Connection) -> Principal:
        """The principal of a request. A wrong credential makes nobody, and no other one is tried."""
        header = connection.headers.get("authorization")
        if header is None:
            return self._by_cookie(connection)
        scheme, _, bearer = header.partition(" ")
        if scheme.lower() == "bearer":
            if self.is_admin_token(bearer):
                return Principal("person", "admin", self._fleet)
            node_id = self._nodes.authenticate(bearer)
            if node_id is not None:
                return Principal("node", node_id, self._fleet)
        return self._nobody()

    async def _recalled(self, connection: Connection) -> Principal:
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        node_id = await self._nodes.recall(bearer) if scheme.lower() == "bearer" else None
        return self._nobody() if node_id is None else Principal("node", node_id, self._fleet)

    def is_admin_token(self, text: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(text.encode(), self._admin_token)

    async def permit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard of every route: sets the connection's user.

        Raises NotAuthenticated, NotAllowed or Misdirected.
        """
        self._check_host(connection)
        permission = handler.opt.get("permission")
        principal = self.principal(connection)
        if principal.kind == "nobody":
            principal = await self._recalled(connection)
        connection.scope["user"] = principal
        if permission in {"anyone", principal.kind}:
            return
        if permission is None:
            raise NotAllowed("cannot use this route: it declares no permission")
        if principal.kind == "nobody":
            raise NotAuthenticated(
                f"cannot use this route as nobody: it is for a {permission}. "
                "Send «Authorization: Bearer …» with a valid token."
            )
        raise NotAllowed(f"cannot use this route as a {principal.kind}: it is for a {permission}")

    def _check_host(self, connection: Connection) -> None:
        """Whoever shows no token and only looks may be a page in a browser, so the name in its address counts."""
        looks = connection.scope.get("method") in {"GET", "HEAD"}
        if not looks or "authorization" in connection.headers:
            return
        if not is_own_host(connection.headers.get("host"), self._hosts):
            raise Misdirected(
                "cannot answer: the request is for another host. Ask for 127.0.0.1 or localhost, or, where a "
                "proxy on this machine serves the hub under that name, set «hosts» in hub.yaml."
            )

    def _by_cookie(self, connection: Connection) -> Principal:
        cookie = connection.cookies.get(self._sessions.cookie_name)
        if connection.scope.get("method") == "GET" and cookie and self._sessions.valid(cookie):
            return Principal("person", "admin", self._fleet)
        return self._nobody()

    def _nobody(self) -> Principal:
        return Principal("nobody", "", self._fleet)
