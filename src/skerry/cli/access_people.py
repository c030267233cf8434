"""`skerry access user …` and `skerry access role …`: who may sign in at the hub, and which roles can be given."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.output import Table, ago, word
from skerry.cli.passwords import PasswordFile, ask_password
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.wire.access import (
    RoleRequest,
    RoleView,
    UserChange,
    UserRequest,
    UserView,
)

_USERS = "/api/v1/access/users"
_ROLES = "/api/v1/access/roles"

User = Annotated[str, typer.Argument(help="The user's name.")]
RoleOption = Annotated[str, typer.Option(help="What the user may do: skerry access role list.")]


def register(group: typer.Typer) -> None:
    """Adds both command groups."""
    user = typer.Typer(help="Users, who sign in with a password.", no_args_is_help=True)
    user.command("create")(create_user)
    user.command("list")(list_users)
    user.command("disable")(disable_user)
    user.command("enable")(enable_user)
    user.command("set-password")(set_password)
    user.command("set-role")(set_role)
    user.command("delete")(delete_user)
    role = typer.Typer(help="Roles: permissions under a name.", no_args_is_help=True)
    role.command("create")(create_role)
    role.command("list")(list_roles)
    role.command("delete")(delete_role)
    group.add_typer(user, name="user")
    group.add_typer(role, name="role")


@remote
async def create_user(
    session: Session, name: User, role: RoleOption, password_file: PasswordFile = None
) -> None:
    """Make a user. The password is asked for on the terminal, or read from a file."""
    password = ask_password(password_file, name, twice=True)
    async with session.hub() as hub:
        made = await hub.send("POST", _USERS, UserRequest(name, role, password), UserView)
    session.screen.tell(
        f"user «{made.name}» may do what role {made.role} may: skerry login {made.name} --hub {session.target.hub}",
        {"user": made.name, "role": made.role},
    )


@remote
async def list_users(session: Session) -> None:
    """List every user that there is or was."""
    async with session.hub() as hub:
        found = await hub.get(_USERS, list[UserView])
    session.screen.show(users_table(found, session.clock.wall_ns()))


def users_table(found: list[UserView], now: int) -> Table:
    """One line for each user."""
    return Table(
        ("NAME", "ROLE", "STATE", "CREATED", "BY", "CHANGED"),
        [
            (
                each.name,
                each.role,
                word(each.state),
                ago(each.created_at, now),
                each.created_by,
                ago(each.changed_at, now),
            )
            for each in found
        ],
        found,
        empty="no users: skerry access user create NAME --role ROLE makes one",
    )


@remote
async def disable_user(session: Session, name: User) -> None:
    """Let a user sign in no more; its sessions end at their next request."""
    await _change(session, name, UserChange(enabled=False), "is disabled", "disable")


@remote
async def enable_user(session: Session, name: User) -> None:
    """Let a disabled user sign in again."""
    await _change(session, name, UserChange(enabled=True), "may sign in again", "enable")


@remote
async def set_password(session: Session, name: User, password_file: PasswordFile = None) -> None:
    """Give a user another password; its sessions end at their next request."""
    password = ask_password(password_file, name, twice=True)
    await _change(
        session, name, UserChange(password=password), "has another password", "set-password"
    )


@remote
async def set_role(session: Session, name: User, role: RoleOption) -> None:
    """Give a user another role; its sessions end at their next request."""
    await _change(session, name, UserChange(role=role), f"has role {role} now", "set-role")


async def _change(session: Session, name: str, asked: UserChange, done: str, order: str) -> None:
    async with session.hub() as hub:
        await hub.send("PATCH", f"{_USERS}/{quote(name, safe='')}", asked, UserView)
    session.screen.tell(
        f"user «{name}» {done}; sessions of before have ended", {"user": name, "order": order}
    )


@remote
async def delete_user(session: Session, name: User) -> None:
    """Delete a user for good. Its name stays in histories, and is not used again."""
    async with session.hub() as hub:
        await hub.send("DELETE", f"{_USERS}/{quote(name, safe='')}", None, UserView)
    session.screen.tell(
        f"user «{name}» is deleted; its sessions have ended", {"user": name, "order": "delete"}
    )


@remote
async def create_role(
    session: Session,
    name: Annotated[str, typer.Argument(help="The role's name.")],
    permission: Annotated[
        list[str], typer.Option(help="read, write, execute or configure; may be repeated.")
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For nodes with this label only; may be repeated."),
    ] = None,
) -> None:
    """Make a role of one's own, for all nodes or for those with some labels."""
    asked = RoleRequest(name, permission, _labels(on or []))
    async with session.hub() as hub:
        made = await hub.send("POST", _ROLES, asked, RoleView)
    on_which = f" on nodes with {_shown(made.on)}" if made.on else ""
    session.screen.tell(
        f"role «{made.name}» may {', '.join(made.permissions)}{on_which}",
        {"role": made.name, "permissions": made.permissions, "on": made.on},
    )


@remote
async def list_roles(session: Session) -> None:
    """List every role that can be given, and where it is from."""
    async with session.hub() as hub:
        found = await hub.get(_ROLES, list[RoleView])
    rows = [(each.name, " ".join(each.permissions), _shown(each.on), each.origin) for each in found]
    session.screen.show(Table(("NAME", "PERMISSIONS", "ON", "ORIGIN"), rows, found))


@remote
async def delete_role(
    session: Session, name: Annotated[str, typer.Argument(help="The role's name.")]
) -> None:
    """Delete a role of one's own: who has it may do nothing from the next request on."""
    async with session.hub() as hub:
        await hub.order("DELETE", f"{_ROLES}/{quote(name, safe='')}")
    session.screen.tell(f"role «{name}» is deleted", {"role": name, "order": "delete"})


def _labels(words: list[str]) -> dict[str, str]:
    labels = {}
    for each in words:
        key, equals, value = each.partition("=")
        if not equals or key in labels:
            raise InvalidInput(f"cannot use --on {each}: write KEY=VALUE, each key once")
        labels[key] = value
    return labels


def _shown(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
