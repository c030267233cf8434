"""Users and roles of one's own over HTTP, for `skerry access user` and `skerry access role`. See docs/operate/access.md."""

from __future__ import annotations

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from skerry.hub.api.auditing import note
from skerry.hub.api.auth import CONFIGURE, AuthenticatedRequest
from skerry.hub.api.bodies import WireBody
from skerry.hub.trust.accounts import Accounts
from skerry.hub.trust.roles import Roles
from skerry.hub.trust.ssh_authority import SshAuthority
from skerry.wire.access import RoleRequest, RoleView, UserChange, UserRequest, UserView

_USERS = "/api/v1/access/users"
_ROLES = "/api/v1/access/roles"


@post(_USERS, dto=WireBody[UserRequest], return_dto=None, status_code=200, opt=CONFIGURE)
async def create_user(
    request: AuthenticatedRequest,
    data: JSONBody[UserRequest],
    accounts: NamedDependency[Accounts],
) -> UserView:
    """Makes a user, who signs in with a password."""
    note(request, f"user «{data.name}», role {data.role}")
    return await accounts.create(data, request.user.id)


@get(_USERS, opt=CONFIGURE)
async def list_users(accounts: NamedDependency[Accounts]) -> list[UserView]:
    """Every user that there is or was."""
    return await accounts.list()


@patch(
    f"{_USERS}/{{name:str}}",
    dto=WireBody[UserChange],
    return_dto=None,
    status_code=200,
    opt=CONFIGURE,
)
async def change_user(
    request: AuthenticatedRequest,
    name: FromPath[str],
    data: JSONBody[UserChange],
    accounts: NamedDependency[Accounts],
    ssh_authority: NamedDependency[SshAuthority],
) -> UserView:
    """Changes a user's password or role, or whether it may sign in. Its sessions and SSH certificates end."""
    said = (
        "password" if data.password is not None else "",
        f"role {data.role}" if data.role is not None else "",
        "" if data.enabled is None else "enabled" if data.enabled else "disabled",
    )
    note(request, ", ".join(word for word in said if word))
    changed = await accounts.change(name, data)
    _ = await ssh_authority.revoke_all_of(changed.name, request.user.id)
    return changed


@delete(f"{_USERS}/{{name:str}}", status_code=200, opt=CONFIGURE)
async def delete_user(
    request: AuthenticatedRequest,
    name: FromPath[str],
    accounts: NamedDependency[Accounts],
    ssh_authority: NamedDependency[SshAuthority],
) -> UserView:
    """Deletes a user for good; its name stays in histories and is not used again. Its SSH certificates end."""
    deleted = await accounts.delete(name)
    _ = await ssh_authority.revoke_all_of(deleted.name, request.user.id)
    return deleted


@post(_ROLES, dto=WireBody[RoleRequest], return_dto=None, status_code=200, opt=CONFIGURE)
async def create_role(
    request: AuthenticatedRequest, data: JSONBody[RoleRequest], roles: NamedDependency[Roles]
) -> RoleView:
    """Makes a role of one's own, for all nodes or for those with some labels."""
    on = "".join(f", on {key}={value}" for key, value in sorted(data.on.items()))
    note(request, f"role «{data.name}»: {' '.join(data.permissions)}{on}")
    return await roles.create(data, request.user.id)


@get(_ROLES, opt=CONFIGURE)
async def list_roles(roles: NamedDependency[Roles]) -> list[RoleView]:
    """Every role that can be given."""
    return await roles.list()


@delete(f"{_ROLES}/{{name:str}}", status_code=204, opt=CONFIGURE)
async def delete_role(name: FromPath[str], roles: NamedDependency[Roles]) -> None:
    """Deletes a role of one's own: who has it may do nothing from the next request on."""
    await roles.delete(name)


def account_routes() -> Router:
    """Every route about users and roles."""
    return Router(
        "/",
        route_handlers=[
            create_user,
            list_users,
            change_user,
            delete_user,
            create_role,
            list_roles,
            delete_role,
        ],
    )
