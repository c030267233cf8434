"""Signing in and out with a user's password: for the page's form, and over HTTP for `skerry login` and `skerry logout`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from litestar import Router, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Redirect

from skerry.hub.api.auditing import Auditing, origin
from skerry.hub.api.auth import (
    ANYONE,
    READ_ON,
    AuthenticatedRequest,
    Authenticator,
    NotAuthenticated,
)
from skerry.hub.api.bodies import WireBody
from skerry.hub.api.browsers import cookie_name, is_secure
from skerry.hub.api.login_codes import LoginCodes
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.api_tokens import UNBOUND, Bound, Holder
from skerry.hub.trust.passwords import check_password
from skerry.hub.trust.people import People
from skerry.hub.trust.sessions import Lifetimes, Sessions
from skerry.hub.trust.sign_ins import SignIns
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.kit.errors import Busy, InvalidInput, Refused
from skerry.kit.units import format_duration
from skerry.wire.access import PasswordChange, SignedIn, SignIn, UserChange

WRONG = "cannot sign in: no such user, or another password"


@dataclass(frozen=True)
class Signing:
    """What signing in takes."""

    authenticator: Authenticator
    sign_ins: SignIns
    sessions: Sessions
    lifetimes: Lifetimes
    login_codes: LoginCodes
    auditing: Auditing

    @classmethod
    def of(
        cls, people: People, authenticator: Authenticator, auditing: Auditing, codes: LoginCodes
    ) -> Signing:
        """For these people."""
        return cls(
            authenticator, people.sign_ins, people.sessions, people.lifetimes, codes, auditing
        )

    async def user(self, request: AuthenticatedRequest, user: str, password: str) -> Holder:
        """The user who is proven by a password. Raises NotAuthenticated, and Busy for as long as nobody may try."""
        attempt = await self.sign_ins.attempt(user, password, origin(request))
        if attempt.holder is not None:
            return attempt.holder
        await self.auditing.not_signed_in(request, attempt)
        if attempt.wait:
            seconds = max(1, math.ceil(attempt.wait))
            raise Busy(
                f"cannot sign in: too many wrong passwords. Try again in {format_duration(seconds)}; tokens are not "
                "held up.",
                after=seconds,
            )
        raise NotAuthenticated(WRONG)

    async def browser(
        self,
        request: AuthenticatedRequest,
        of: Holder | str,
        seconds: float,
        bound: Bound = UNBOUND,
    ) -> Redirect:
        """Begins a browser's session. Raises Refused when what it is `bound` to has ended."""
        await self.auditing.signed_in(request, of if isinstance(of, str) else of.name)
        secret, _ = await self.sessions.begin(of, "browser", seconds, bound)
        name = cookie_name(request, self.sessions.cookie_name)
        cookie = session_cookie(request, name, secret, max_age=int(seconds))
        headers = {"Cache-Control": "no-store"}
        return Redirect("/", status_code=303, cookies=[cookie], headers=headers)


def session_cookie(request: AuthenticatedRequest, name: str, value: str, *, max_age: int) -> Cookie:
    """The cookie of a session: scripts do not see it, and no page of another site makes a browser send it."""
    return Cookie(
        key=name,
        value=value,
        max_age=max_age,
        httponly=True,
        samesite="strict",
        secure=is_secure(request),
    )


@post(
    "/api/v1/sign-in",
    dto=WireBody[SignIn],
    return_dto=None,
    status_code=200,
    opt=ANYONE,
)
async def sign_in(
    *,
    request: AuthenticatedRequest,
    data: JSONBody[SignIn],
    signing: NamedDependency[Signing],
) -> SignedIn:
    """A token for a user's name and password, for `skerry login`; it is shown this once."""
    longest = signing.lifetimes.command
    seconds = longest if data.ttl is None else data.ttl
    if not 1 <= seconds <= longest:
        raise InvalidInput(
            f"cannot sign in for {seconds:g} s: this hub allows 1 second to "
            f"{format_duration(longest)} (access_control.authentication.token_expiry)"
        )
    holder = await signing.user(request, data.user, data.password)
    await signing.auditing.signed_in(request, holder.name, "a command line")
    token, ends = await signing.sessions.begin(holder, "command", seconds)
    return SignedIn(holder.name, holder.role.name, token, ends)


@post(
    "/api/v1/password",
    dto=WireBody[PasswordChange],
    return_dto=None,
    status_code=204,
    opt=ANYONE,
)
async def change_password(
    request: AuthenticatedRequest,
    data: JSONBody[PasswordChange],
    signing: NamedDependency[Signing],
    accounts: NamedDependency[Accounts],
    ssh_authority: NamedDependency[SshAuthority],
) -> None:
    """Gives a user another password who shows the one of now; the user's sessions and SSH certificates end."""
    check_password(data.new, data.user)
    holder = await signing.user(request, data.user, data.password)
    await signing.auditing.signed_in(request, holder.name, "for another password")
    await accounts.change(holder.name, UserChange(password=data.new))
    _ = await ssh_authority.revoke_all_of(holder.name, holder.name)


@post("/api/v1/sign-out", status_code=204, opt=READ_ON)
async def sign_out(request: AuthenticatedRequest, sessions: NamedDependency[Sessions]) -> None:
    """Takes the token back that the request shows, when it is one of `/api/v1/sign-in`."""
    _, _, token = request.headers.get("authorization", "").partition(" ")
    if not await sessions.end(token):
        raise Refused(
            "cannot sign out with this token: it was not made by signing in. skerry access token revoke NAME takes an API "
            "token back."
        )


def signing_in_routes() -> Router:
    """Every route about them."""
    return Router("/", route_handlers=[sign_in, sign_out, change_password])
