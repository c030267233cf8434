"""API tokens of people over HTTP, for `skerry access token`. See docs/operate/access.md."""

from __future__ import annotations

from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from skerry.hub.api.auditing import note
from skerry.hub.api.auth import CONFIGURE, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.trust.api_tokens import ApiTokens
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.wire.access import AccessTokenReply, AccessTokenRequest, AccessTokenView

_TOKENS = "/api/v1/access/tokens"


@post(_TOKENS, dto=WireBody[AccessTokenRequest], return_dto=None, status_code=200, opt=CONFIGURE)
async def create_access_token(
    request: AuthenticatedRequest,
    data: JSONBody[AccessTokenRequest],
    api_tokens: NamedDependency[ApiTokens],
) -> AccessTokenReply:
    """Makes an API token of a person or a program; it is shown this once."""
    note(request, f"token «{data.name}», role {data.role}, for {data.ttl:.0f} s")
    return await api_tokens.create(data, request.user.id)


@get(_TOKENS, opt=CONFIGURE)
async def list_access_tokens(api_tokens: NamedDependency[ApiTokens]) -> list[AccessTokenView]:
    """Every API token that there is or was, without the token."""
    return await api_tokens.list()


@delete(f"{_TOKENS}/{{name:str}}", status_code=200, opt=CONFIGURE)
async def revoke_access_token(
    request: AuthenticatedRequest,
    name: FromPath[str],
    api_tokens: NamedDependency[ApiTokens],
    ssh_authority: NamedDependency[SshAuthority],
) -> AccessTokenView:
    """Takes an API token back: it is refused from the next request on, and so are its SSH certificates."""
    revoked = await api_tokens.revoke(name)
    _ = await ssh_authority.revoke_all_of(name, request.user.id)
    return revoked


def access_routes() -> Router:
    """Every route about API tokens."""
    handlers = [create_access_token, list_access_tokens, revoke_access_token]
    return Router("/", route_handlers=handlers)
