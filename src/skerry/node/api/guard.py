"""Who may do what at the admin socket: every route declares one permission, and what changes something is entered first.

The kernel says who asks (`node.audit.callers`), `core.local_access` which role that is. A route that declares
nothing is refused. What needs more than `read` is entered into the audit log as «begun» before it runs, and with its
outcome afterwards; what cannot be entered is not done, but for the routes that say otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
from aiohttp.abc import AbstractView
from aiohttp.helpers import RequestKey
from aiohttp.typedefs import Middleware
from aiohttp.web_urldispatcher import AbstractRoute

from skerry.core.audit_entries import Deed
from skerry.core.local_access import LocalAccess
from skerry.core.roles import Permission, Role, may, roles_with
from skerry.kit.errors import SkerryError, Transient
from skerry.node.api import web
from skerry.node.api.answers import Handler, json_answer, status_of
from skerry.node.audit.callers import Caller, caller_of, group_names, program_of, user_name
from skerry.node.audit.desk import AuditDesk
from skerry.wire.people import Problem

_DETAIL = RequestKey("audit detail", str)
_DEED = RequestKey("audit deed", Deed)
Entry = Literal["must", "if possible", "none", "own"]
UNDECLARED = "cannot use this route: it declares no permission"


class Declared(msgspec.Struct, frozen=True):
    """What a route says: who may use it, and what it is called in the audit log.

    `entry`: without one it is not done, or it is all the same, or it leaves none because what it makes says who made it,
    or the route enters it itself (`deed_of`), with what it learns first.
    """

    permission: Permission
    action: str
    entry: Entry = "must"


class Who(msgspec.Struct, frozen=True):
    """The caller with its names."""

    caller: Caller
    user: str
    program: str
    role: Role | None


class AdminGuard:
    """The declarations of one app's routes, and the middleware that holds requests to them."""

    def __init__(self, desk: AuditDesk, access: LocalAccess) -> None:
        self._desk = desk
        self._access = access
        self.declared: dict[AbstractRoute, Declared] = {}

    def get(
        self,
        app: web.Application,
        path: str,
        handler: Handler,
        permission: Permission,
        *,
        entry: Entry = "must",
    ) -> None:
        """Adds a route that looks, or a WebSocket."""
        route = app.router.add_get(path, handler, allow_head=False)
        self.declared[route] = Declared(permission, _name(handler), entry)

    def post(
        self,
        app: web.Application,
        path: str,
        handler: Handler,
        permission: Permission,
        *,
        entry: Entry = "must",
    ) -> None:
        """Adds a route that does something."""
        route = app.router.add_post(path, handler)
        self.declared[route] = Declared(permission, _name(handler), entry)

    @property
    def middleware(self) -> Middleware:
        """To be put between the answers to errors and the routes."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.match_info.http_exception is not None:
                return await handler(request)  # there is no such route
            route = self.declared.get(request.match_info.route)
            leaves_an_entry = route is None or (
                route.permission != "read" and route.entry != "none"
            )
            who = await self._who(request, named=leaves_an_entry)
            if route is None:
                return await self._refuse(request, who, "undeclared", UNDECLARED)
            if who.role is None or not may(who.role, route.permission):
                return await self._refuse(
                    request, who, route.action, _lacking(who, route.permission)
                )
            if not leaves_an_entry:
                return await handler(request)
            if route.entry == "own":
                request[_DEED] = _deed(request, who, route.action)
                return await handler(request)
            return await self._entered(request, handler, _deed(request, who, route.action), route)

        return guard

    async def _who(self, request: web.Request, *, named: bool) -> Who:
        """Names are looked up only where they are needed: who owns the node and only looks costs nothing."""
        transport = request.transport
        if transport is None:
            raise Transient("cannot tell who asks: the connection was closed meanwhile")
        caller = caller_of(transport.get_extra_info("socket"))
        if self._access.owns(caller.uid) and not named:
            return Who(caller, "", "", self._access.role_of(caller.uid, "", ()))
        return await asyncio.to_thread(self._look_up, caller)

    def _look_up(self, caller: Caller) -> Who:
        user = user_name(caller.uid)
        groups = () if self._access.owns(caller.uid) else group_names(caller)
        return Who(caller, user, program_of(caller), self._access.role_of(caller.uid, user, groups))

    async def _refuse(
        self, request: web.Request, who: Who, action: str, words: str
    ) -> web.StreamResponse:
        deed = _deed(request, who, action)
        # Without the number of the process, which a flood has a new one of each time.
        origin = f"local socket, uid {who.caller.uid}"
        await self._desk.refused(msgspec.structs.replace(deed, origin=origin, object=""), 403)
        return json_answer(Problem(words), 403)

    async def _entered(
        self, request: web.Request, handler: Handler, deed: Deed, route: Declared
    ) -> web.StreamResponse:
        begun = await self._begun(deed, route)
        status = 500
        try:
            response = await handler(request)
            status = response.status
        except SkerryError as error:
            status = status_of(error)
            raise
        except web.HTTPException as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = 0  # whoever asked has gone: what came of it nobody can say
            raise
        finally:
            if status:
                said = msgspec.structs.replace(deed, detail=request.get(_DETAIL, ""))
                await self._desk.ended(said, begun, status)
        return response

    async def _begun(self, deed: Deed, route: Declared) -> int:
        try:
            return await self._desk.begun(deed)
        except SkerryError as error:
            if route.entry == "if possible":
                return 0
            raise Transient(
                f"cannot enter into the audit log who does this, so it is not done: {error}"
            ) from error


def note(request: web.Request, words: str) -> None:
    """What the outcome of this request says besides its path: names, never contents."""
    request[_DETAIL] = words


def deed_of(request: web.Request) -> Deed:
    """What the route itself enters, with an outcome, before it does anything."""
    return request[_DEED]


def of_strangers(desk: AuditDesk) -> Middleware:
    """Tells of workloads that ask on their socket for what is not there for them: a person's routes, for example."""

    @web.middleware
    async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
        error = request.match_info.http_exception
        if error is not None and request.transport is not None:
            name = Path(request.transport.get_extra_info("sockname")).parent.name
            words = f"{request.method} {request.path}"
            # The path is no part of the kind: a workload thinks of a new one each time.
            deed = Deed(f"workload {name}", "", "no_such_route", "", "its socket", detail=words)
            await desk.refused(deed, error.status, of_workload=True)
        return await handler(request)

    return told


def _deed(request: web.Request, who: Who, action: str) -> Deed:
    role = who.role.name if who.role else ""
    return Deed(who.user, role, action, request.path, f"local socket, {who.program}")


def _lacking(who: Who, needed: Permission) -> str:
    having = " or ".join(roles_with(needed))
    return (
        f"cannot do this as user «{who.user or who.caller.uid}» (role {who.role.name if who.role else 'none'}): it needs "
        f"permission {needed}. The settings access.local.{having.replace(' or ', ', access.local.')} say who has it."
    )


def _name(handler: Callable[..., Awaitable[web.StreamResponse]] | type[AbstractView]) -> str:
    return handler.__name__
