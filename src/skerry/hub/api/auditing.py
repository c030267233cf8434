"""What people's requests leave in the audit log: a guard before the routes, and a middleware around their answers.

A request that may change something is entered as «begun», durably, before its route runs, and its outcome before the
answer is sent. One that only looks, by a permission other than `read`, leaves its outcome. Refusals are folded.
Nodes' requests leave nothing, unless they are refused.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec.structs import replace

from skerry.core.audit_entries import Deed, outcome_of
from skerry.core.refusals import Refusals
from skerry.hub.api.auth import (
    AuthenticatedRequest,
    Authenticator,
    Connection,
    Door,
    NotAllowed,
    NotAuthenticated,
    Principal,
)
from skerry.hub.trust.audit import AuditLog
from skerry.hub.trust.sign_ins import Attempt
from skerry.kit.clock import NS, Clock
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import Guard, Tasks

log = logging.getLogger(__name__)

FLUSH_EVERY = 10.0
"""Seconds between two looks for counted refusals that are to be told."""

_AUDITED = {"write", "execute", "configure"}
_LOOKS = {"GET", "HEAD"}
_LONGEST_ORIGIN = 64
_KEY = "skerry audit"
_OTHERS = "others"


@dataclass
class _Asked:
    """A request that is under way. `begun`: the entry that says so, 0 where there is none."""

    deed: Deed
    begun: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Refusal:
    """What makes two refusals equal."""

    status: int
    actor: str = ""
    role: str = ""
    action: str = ""
    origin: str = ""
    detail: str = ""


class Auditing:
    """Enters what people do, and counts what they may not."""

    def __init__(self, audit: AuditLog, authenticator: Authenticator, clock: Clock) -> None:
        self._audit = audit
        self._authenticator = authenticator
        self._clock = clock
        # Apart, so that devices that were deleted and ask again do not hide who tries the doors of people.
        self._of_people = Refusals(Refusal(0, action=_OTHERS))
        self._of_nodes = Refusals(Refusal(0, action=f"{_OTHERS}, of nodes"))

    async def permit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """The guard of every route. Raises as `Authenticator.permit`, and when an entry cannot be made."""
        await self._permit(connection, handler, self._authenticator)

    def guard(self, door: Door) -> Callable[[Connection, BaseRouteHandler], Awaitable[None]]:
        """The same guard, where another one lets in."""

        async def permit(connection: Connection, handler: BaseRouteHandler) -> None:
            await self._permit(connection, handler, door)

        return permit

    async def _permit(self, connection: Connection, handler: BaseRouteHandler, door: Door) -> None:
        permission = handler.opt.get("permission")
        try:
            await door.permit(connection, handler)
        except (NotAuthenticated, NotAllowed) as error:
            status = 401 if isinstance(error, NotAuthenticated) else 403
            principal: Principal = connection.scope["user"]
            await self.refused(
                Refusal(
                    status,
                    principal.id,
                    _role(principal),
                    handler.handler_name,
                    origin(connection),
                    principal.fault,
                ),
                of_node=permission in {"node", "renewal"},
            )
            raise
        if permission not in _AUDITED:
            return
        principal = connection.scope["user"]
        asked = _Asked(
            Deed(
                principal.id,
                _role(principal),
                handler.handler_name,
                connection.scope["path"],
                origin(connection),
            )
        )
        if connection.scope.get("method") not in _LOOKS:
            asked.begun = await self._audit.add(replace(asked.deed, outcome="begun"))
        connection.scope["state"][_KEY] = asked

    async def answered(self, asked: _Asked, status: int) -> None:
        """Enters the outcome. The answer says what happened, so it is sent even when this could not be entered."""
        deed = replace(
            asked.deed,
            outcome=outcome_of(status),
            status=status,
            of=asked.begun,
            detail=asked.detail,
        )
        await self._add_if_possible(deed)

    async def ended(self, connection: Connection, status: int, words: str) -> None:
        """Enters the outcome of a WebSocket, which has no answer."""
        asked = connection.scope["state"].pop(_KEY, None)
        if asked is not None:
            asked.detail = words
            await self.answered(asked, status)

    async def signed_in(self, connection: Connection, who: str, where: str = "a browser") -> None:
        """A session begins. Raises when it cannot be entered: then it must not."""
        await self._audit.add(Deed(who, "", "sign_in", origin=origin(connection), detail=where))

    async def not_signed_in(self, connection: Connection, attempt: Attempt | None = None) -> None:
        """Somebody showed a token, a code or a password that is not good, or must wait before showing one."""
        status, words = 401, []
        if attempt is not None:
            status = 429 if attempt.wait else 401
            words = [f"as «{attempt.user}»"] if attempt.user else []
            words += ["locked from now on"] if attempt.locked else []
        refusal = Refusal(
            status, action="sign_in", origin=origin(connection), detail=", ".join(words)
        )
        await self.refused(refusal, of_node=False)

    async def refused(self, refusal: Refusal, *, of_node: bool) -> None:
        """Tells or counts a refusal."""
        counts = self._of_nodes if of_node else self._of_people
        told = counts.note(refusal, self._clock.monotonic_ns())
        if told is not None:
            await self._add_if_possible(_refusal(told, 1, told.detail))

    async def flush(self, *, everything: bool = False) -> None:
        """Tells of the refusals that were counted."""
        for counts in (self._of_people, self._of_nodes):
            for told, count, window in counts.due(
                self._clock.monotonic_ns(), everything=everything
            ):
                words = f"counted for up to {window // NS} s; {told.detail}".rstrip("; ")
                await self._add_if_possible(_refusal(told, count, words))

    def follow(self, tasks: Tasks, chance: random.Random) -> None:
        """Tells of counted refusals for as long as the tasks run."""
        tasks.forever(
            self._run(Guard("counted refusals", self._clock, chance)), name="counted refusals"
        )

    async def _run(self, guard: Guard) -> None:
        while True:
            await self._clock.sleep(FLUSH_EVERY)
            await guard.run(self.flush)

    async def _add_if_possible(self, deed: Deed) -> None:
        try:
            await self._audit.add(deed)
        except SkerryError as error:
            log.warning("cannot enter «%s» into the audit log: %s", deed.action, error)


class AuditedAnswers(ASGIMiddleware):
    """Enters the outcome of what the guard has noted, before the answer begins."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, auditing: Auditing) -> None:
        self._auditing = auditing

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_entered(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked = scope["state"].pop(_KEY, None)
                if asked is not None:
                    await self._auditing.answered(asked, message["status"])
            await send(message)

        audited = scope["route_handler"].opt.get("permission") in _AUDITED
        await next_app(scope, receive, send_entered if audited else send)


def note(request: AuthenticatedRequest, words: str) -> None:
    """What the outcome of this request says besides its path: names, never contents."""
    asked = request.scope["state"].get(_KEY)
    if asked is not None:
        asked.detail = words


def origin(connection: Connection) -> str:
    """The address that the request came from; behind a proxy, the proxy's, unless the settings believe it (`access.proxies`)."""
    client = connection.scope.get("client")
    return client[0][:_LONGEST_ORIGIN] if client else ""


def _role(principal: Principal) -> str:
    return principal.role.name if principal.role else ""


def _refusal(refusal: Refusal, count: int, detail: str) -> Deed:
    return Deed(
        refusal.actor,
        refusal.role,
        refusal.action,
        origin=refusal.origin,
        outcome="refused",
        status=refusal.status,
        count=count,
        detail=detail,
    )
