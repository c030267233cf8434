"""The page and its way in: login form, session cookie, the stream of updates, the API's description, assets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from litestar import MediaType, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromQuery
from litestar.response import Redirect, Stream
from litestar.static_files import create_static_files_router

from skerry.core.roles import Role
from skerry.hub.api.auth import ANYONE, READ_ON, AuthenticatedRequest, NotAuthenticated
from skerry.hub.api.browsers import cookie_name, cookie_of, is_from_elsewhere
from skerry.hub.api.signing_in import Signing, session_cookie
from skerry.hub.changes import Changes
from skerry.hub.dashboard.board import RENDER_EVERY, Board, Fragments
from skerry.hub.dashboard.rendering import Templates
from skerry.hub.trust.sessions import SESSION_SECONDS
from skerry.kit.errors import Busy, SkerryError
from skerry.wire.codec import encode

log = logging.getLogger(__name__)

QUIET = 5.0
"""Seconds after which the page is rendered even when nothing has changed, because ages grow."""

_NEVER_STORED = {"Cache-Control": "no-store"}
_STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True)
class LoginForm:
    """What the login form sends."""

    user: str = ""
    password: str = ""
    token: str = ""
    code: str = ""


@get("/", opt=READ_ON, media_type=MediaType.HTML)
async def page(
    request: AuthenticatedRequest,
    board: NamedDependency[Board],
    templates: NamedDependency[Templates],
) -> Response[str]:
    """The whole page, complete without any script."""
    return _html(templates.render("page.html", fragments=await board.fragments(request.user.role)))


@get("/live", opt=READ_ON)
async def live(
    request: AuthenticatedRequest, board: NamedDependency[Board], changes: NamedDependency[Changes]
) -> Stream:
    """Fragments of the page as server-sent events, whenever they differ from what was sent last."""
    return Stream(
        _updates(board, changes, request.user.role),
        media_type="text/event-stream",
        headers=_NEVER_STORED,
    )


@get("/login", opt=ANYONE, media_type=MediaType.HTML)
async def login_form(
    *,
    request: AuthenticatedRequest,
    templates: NamedDependency[Templates],
    signing: NamedDependency[Signing],
    code: FromQuery[str | None] = None,
) -> Response[str] | Redirect:
    """Asks who comes, or signs in with a one-time code. A link on a page of another origin signs nobody in by itself."""
    if code is None:
        return _form(templates)
    if is_from_elsewhere(request):
        return _form(templates, code=code)
    return await _by_code(request, signing, templates, code)


@post("/login", opt=ANYONE, media_type=MediaType.HTML)
async def log_in(
    *,
    request: AuthenticatedRequest,
    data: Annotated[LoginForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
    templates: NamedDependency[Templates],
    signing: NamedDependency[Signing],
) -> Response[str] | Redirect:
    """Signs in with a user's password, the administrator's token, an API token, or a code."""
    if data.code:
        return await _by_code(request, signing, templates, data.code)
    if data.token:
        person = await signing.authenticator.person(data.token.strip())
        if person is not None and person.kind == "person":
            return await signing.browser(request, person.id, SESSION_SECONDS, person.bound)
        await signing.auditing.not_signed_in(request)
        problem = "That is no token of this hub, or not any more."
        return _form(templates, problem, status=401)
    try:
        holder = await signing.user(request, data.user, data.password)
    except NotAuthenticated:
        problem = "There is no such user, or the password is another one."
        return _form(templates, problem, status=401)
    except Busy as error:
        return _form(templates, str(error), status=429)
    return await signing.browser(request, holder, signing.lifetimes.browser)


@post("/logout", opt=ANYONE)
async def log_out(request: AuthenticatedRequest, signing: NamedDependency[Signing]) -> Redirect:
    """Ends the browser's session."""
    cookie = cookie_of(request, signing.sessions.cookie_name)
    if cookie:
        await signing.sessions.end(cookie)
    names = dict.fromkeys(
        (signing.sessions.cookie_name, cookie_name(request, signing.sessions.cookie_name))
    )
    gone = [session_cookie(request, name, "", max_age=0) for name in names]
    return Redirect("/login", status_code=303, cookies=gone)


@get("/schema", opt=ANYONE, media_type=MediaType.HTML)
async def schema_page(state: State, templates: NamedDependency[Templates]) -> Response[str]:
    """The API's description for people, without any external asset."""
    return _html(templates.render("schema.html", document=state.openapi()))


@get("/schema/openapi.json", opt=ANYONE, media_type="application/vnd.oai.openapi+json")
async def schema_document(state: State) -> bytes:
    """The API's description for programs."""
    return encode(state.openapi())


def page_routes() -> Router:
    """Every route that browsers use."""
    static = create_static_files_router("/static", [_STATIC], opt=dict(ANYONE))
    asks_to_log_in = Router(
        "/", route_handlers=[page], exception_handlers={NotAuthenticated: _to_login}
    )
    others = [live, login_form, log_in, log_out, schema_page, schema_document]
    return Router("/", route_handlers=[asks_to_log_in, *others, static], include_in_schema=False)


def _to_login(_: AuthenticatedRequest, __: NotAuthenticated) -> Redirect:
    return Redirect("/login", status_code=303)


async def _by_code(
    request: AuthenticatedRequest, signing: Signing, templates: Templates, code: str
) -> Response[str] | Redirect:
    used = await signing.login_codes.use(code)
    if used is not None:
        who, bound = used
        return await signing.browser(request, who, SESSION_SECONDS, bound)
    await signing.auditing.not_signed_in(request)
    problem = "This link was used before or is too old. Sign in another way."
    return _form(templates, problem, status=401)


def _form(
    templates: Templates, problem: str = "", *, code: str = "", status: int = 200
) -> Response[str]:
    return _html(templates.render("login.html", problem=problem, code=code), status)


def _html(text: str, status: int = 200) -> Response[str]:
    return Response(text, media_type=MediaType.HTML, status_code=status, headers=_NEVER_STORED)


async def _updates(board: Board, changes: Changes, role: Role | None) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    sent: Fragments = {}
    while not changes.closing.is_set():
        seen = changes.count
        try:
            fragments = await board.fragments(role)
        except SkerryError as error:
            log.warning("cannot refresh the page: %s", error)
            return  # the browser connects again
        for name, html in fragments.items():
            if sent.get(name) != html:
                yield event(name, html)
        sent = fragments
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENDER_EVERY):
                await changes.closing.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET):
                await changes.after(seen)


def event(name: str, html: str) -> str:
    """One server-sent event."""
    data = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"event: {name}\n{data}\n"
