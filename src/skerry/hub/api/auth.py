"""Who is asking: the one place that turns a request into a Principal, and the one guard before every route.

A node shows `Bearer <node id>.<secret>`, a person `Bearer <token>`: the administrator's, an API token with a role, or
what `skerry login` got for a user. In a browser a person has a session cookie. It may only look (GET, and `read` of its
role): browsers attach it by themselves, so it must never change anything. Every route declares its permission in
`opt`; one that declares none is refused, and one that does not say that it fits roles for some nodes is refused to them.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from skerry.core.roles import ADMIN, Permission, Role, may, roles_with
from skerry.hub.api.browsers import (
    changes_without_token,
    cookie_of,
    is_from_elsewhere,
    is_of_a_browser,
)
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.trust.api_tokens import ADMINISTRATOR, UNBOUND, ApiTokens, Bound, Holder
from skerry.hub.trust.sessions import Sessions
from skerry.kit.errors import NotFound, SkerryError
from skerry.kit.own_hosts import is_own_host
from skerry.wire.devices import WipeOrder

_HELD = "skerry held nodes"

Needed = Literal["anyone", "node", "renewal"] | Permission
Connection = ASGIConnection[Any, Any, Any, Any]

ANYONE: dict[str, Needed] = {"permission": "anyone"}
NODE: dict[str, Needed] = {"permission": "node"}
NODE_OR_RETIRED: dict[str, Needed | bool] = {**NODE, "tells_retired": True}
"""A node; one that is out of service is told what to do."""
RENEWAL: dict[str, Needed] = {"permission": "renewal"}
"""A node whose certificate may have ended a while ago."""
READ: dict[str, Needed] = {"permission": "read"}
"""A person who looks. What a browser shows is this and nothing else."""
WRITE: dict[str, Needed] = {"permission": "write"}
"""A person who changes what is wanted or kept: workloads, models, rows, files."""
EXECUTE: dict[str, Needed] = {"permission": "execute"}
"""A person who acts on what runs: restarts, and the course of changes that others have made."""
READ_ON: dict[str, object] = {**READ, "fits_scopes": True}
"""As `READ`, also for roles that are for some nodes only: the route shows them what `Principal.role` covers."""
EXECUTE_ON: dict[str, object] = {**EXECUTE, "fits_scopes": True}
"""As `EXECUTE`, also for roles that are for some nodes only: the route acts on nothing else."""
CARRY: dict[str, object] = {**EXECUTE_ON, "judges_itself": True}
"""As `EXECUTE_ON`, for bytes that are carried for long: `api.carrying` asks again, so that it can say why it ends."""
CONFIGURE: dict[str, Needed] = {"permission": "configure"}
"""A person who says who takes part, and with which keys."""
CONFIGURE_ON: dict[str, object] = {**CONFIGURE, "fits_scopes": True}
"""As `CONFIGURE`, also for roles that are for some nodes only: the route acts on nothing else."""


class NotAuthenticated(SkerryError):
    """The request does not say, or cannot prove, who is asking."""


class NotAllowed(SkerryError):
    """The principal is known and may not use this route."""


class Misdirected(SkerryError):
    """The request is for a host that this hub is not."""


class OutOfService(SkerryError):
    """A device that was decommissioned says hello: it gets the order to erase itself, and nothing else."""

    def __init__(self, order: WipeOrder) -> None:
        super().__init__(f"cannot serve device «{order.name}»: it was decommissioned")
        self.order = order


@dataclass(frozen=True)
class Principal:
    """Who is asking. `id` is the node's id, the name of the person's token, or empty; `role` is a person's.

    Where anyone may come, everybody is nobody. `fault` says why somebody who was known is nobody.
    """

    kind: Literal["node", "person", "nobody"]
    id: str
    fleet: str
    role: Role | None = None
    fault: str = ""
    bound: Bound = UNBOUND


AuthenticatedRequest = Request[Principal, None, State]


class Door(Protocol):
    """Lets requests in, or raises."""

    async def permit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Sets the connection's user. Raises NotAuthenticated, NotAllowed or Misdirected."""
        ...


class Authenticator:
    """Knows the tokens, the nodes' secrets and the browser sessions of one hub; `hosts` are its own names.

    Unless `by_secret` nobody is known by a node's secret.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everybody who may come
        self,
        fleet: str,
        admin_token: str,
        nodes: Nodes,
        api_tokens: ApiTokens,
        sessions: Sessions,
        hosts: Collection[str],
        order_for: Callable[[str], Awaitable[WipeOrder | None]],
        *,
        by_secret: bool,
    ) -> None:
        self._by_secret = by_secret
        self._order_for = order_for
        self._hosts = hosts
        self._fleet = fleet
        self._admin_token = admin_token.encode()
        self._nodes = nodes
        self._api_tokens = api_tokens
        self._sessions = sessions

    async def person(self, token: str) -> Principal | None:
        """The person, or the nobody, that a token stands for; None: it is none of this hub's."""
        if hmac.compare_digest(token.encode(), self._admin_token):
            return Principal("person", ADMINISTRATOR, self._fleet, ADMIN)
        holder = await self._api_tokens.holder(token)
        if holder is None:
            holder = await self._sessions.holder(token, "command")
        return None if holder is None else self._holding(holder, holder.role)

    async def permit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard of every route: sets the connection's user.

        Raises NotAuthenticated, NotAllowed or Misdirected.
        """
        self._check_host(connection)
        self._check_origin(connection)
        needed: Needed | None = handler.opt.get("permission")
        if needed == "anyone":
            # Nobody is looked up, so these answer without a database.
            connection.scope["user"] = self._nobody()
            return
        principal = await self._principal(connection)
        connection.scope["user"] = principal
        if principal.kind == "nobody" and handler.opt.get("tells_retired"):
            await self._tell_retired(connection)
        if needed is None:
            raise NotAllowed("cannot use this route: it declares no permission")
        wanted = "node" if needed in {"node", "renewal"} else "person"
        if principal.kind == "nobody":
            why = principal.fault or f"cannot use this route as nobody: it is for a {wanted}"
            raise NotAuthenticated(f"{why}. Send «Authorization: Bearer …» with a valid token.")
        if principal.kind != wanted:
            raise NotAllowed(f"cannot use this route as a {principal.kind}: it is for a {wanted}")
        match needed:
            case "node" | "renewal":
                return
            case _:
                if principal.role is None or not may(principal.role, needed):
                    raise NotAllowed(lacking(principal, needed))
                if principal.role.scoped:
                    await self._check_scope(connection, handler, principal)

    async def _check_scope(
        self, connection: Connection, handler: BaseRouteHandler, principal: Principal
    ) -> None:
        """The route must fit such roles, and what an open request has to do with must still be the role's."""
        if not handler.opt.get("fits_scopes"):
            raise NotAllowed(beyond(principal))
        held = connection.scope["state"].get(_HELD)
        if held is not None and not await self._nodes.covered(principal.role, held):
            raise NotAllowed(
                f"cannot go on as «{principal.id}»: a node that this is about is none of the role's any more"
            )

    async def _principal(self, connection: Connection) -> Principal:
        """Who is asking. A wrong credential makes nobody, and no other one is tried."""
        header = connection.headers.get("authorization")
        if header is None:
            return await self._by_cookie(connection)
        scheme, _, bearer = header.partition(" ")
        if scheme.lower() != "bearer":
            return self._nobody()
        person = await self.person(bearer)
        if person is not None:
            return person
        if not self._by_secret:
            return self._nobody()
        node_id = self._nodes.authenticate(bearer) or await self._nodes.recall(bearer)
        return self._nobody() if node_id is None else Principal("node", node_id, self._fleet)

    async def _tell_retired(self, connection: Connection) -> None:
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        order = await self._order_for(bearer) if scheme.lower() == "bearer" else None
        if order is not None:
            raise OutOfService(order)

    def _check_host(self, connection: Connection) -> None:
        """Whoever shows no token may be a page in a browser, so the name in its address counts."""
        if "authorization" in connection.headers:
            return
        looks = connection.scope.get("method") in {"GET", "HEAD"}
        if not looks and not is_of_a_browser(connection):
            return
        if not is_own_host(connection.headers.get("host"), self._hosts):
            raise Misdirected(
                "cannot answer: the request is for another host. Ask for 127.0.0.1 or localhost, or, where a "
                "proxy on this machine serves the hub under that name, set «hosts» in hub.yaml."
            )

    def _check_origin(self, connection: Connection) -> None:
        """No page of another origin may make a browser sign in, sign out or change anything."""
        if changes_without_token(connection) and is_from_elsewhere(connection):
            connection.scope["user"] = self._nobody("a page of another origin asked for it")
            raise NotAllowed(
                "cannot do this: a page of another origin asked for it. Use the hub's own page, or send a token."
            )

    async def _by_cookie(self, connection: Connection) -> Principal:
        """A session ends with whoever it is of, and may look if that one may."""
        cookie = cookie_of(connection, self._sessions.cookie_name)
        if connection.scope.get("method") != "GET" or not cookie:
            return self._nobody()
        holder = await self._sessions.holder(cookie, "browser")
        return (
            self._nobody() if holder is None else self._holding(holder, _in_a_browser(holder.role))
        )

    def _holding(self, holder: Holder, role: Role) -> Principal:
        if holder.fault:
            return self._nobody(f"cannot use this route: {holder.fault}")
        return Principal("person", holder.name, self._fleet, role, bound=holder.bound)

    def _nobody(self, fault: str = "") -> Principal:
        return Principal("nobody", "", self._fleet, fault=fault)


def hold(connection: Connection, ids: Collection[str] | None) -> None:
    """This request, as long as it is open, is about these nodes; None: about all. It ends with the right to one of them."""
    if ids is not None:
        connection.scope["state"][_HELD] = frozenset(ids)


async def find_node(connection: Connection, nodes: Nodes, name: str, verb: str) -> str:
    """The id of the node of this name or id, which the request is about from now on.

    Raises NotFound, in the same words for one that there is not and one that the person's role is not for.
    """
    node_id = await nodes.find(name, connection.user.role)
    if node_id is None:
        raise NotFound(f"cannot {verb}: there is no node «{name:.80}»")
    hold(connection, [node_id])
    return node_id


def lacking(principal: Principal, needed: Permission) -> str:
    """What a person is told who may not, and whom to ask."""
    having = " or ".join(roles_with(needed))
    return (
        f"cannot do this as «{principal.id}» (role {principal.role.name if principal.role else 'none'}): it needs "
        f"permission {needed}. Ask for a token with role {having}: skerry access token create."
    )


def beyond(principal: Principal) -> str:
    """What a person is told whose role is for some nodes only, of a route that is about the whole fleet."""
    assert principal.role is not None  # noqa: S101 - who has none was refused
    on = ", ".join(f"{key}={value}" for key, value in principal.role.on)
    return (
        f"cannot do this as «{principal.id}»: it is about the whole fleet, and role {principal.role.name} is for nodes "
        f"with {on} only."
    )


def _in_a_browser(role: Role) -> Role:
    looking: tuple[Permission, ...] = tuple(each for each in role.permissions if each == "read")
    return Role(f"{role.name}, in a browser", looking, role.on)
