"""`skerry access token create|list|revoke`, and the groups of `access_people`: who may do what at the hub's API. See docs/operate/access.md."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli import access_people, access_ssh
from skerry.cli.output import Cell, Table, ago, word
from skerry.cli.session import Session, remote
from skerry.kit.clock import NS, iso
from skerry.kit.errors import InvalidInput
from skerry.kit.units import format_duration, parse_duration
from skerry.wire.access import AccessTokenReply, AccessTokenRequest, AccessTokenView

_PATH = "/api/v1/access/tokens"

Name = Annotated[str, typer.Argument(help="The token's name, which the hub notes of what it does.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    token = typer.Typer(help="API tokens of people and programs.", no_args_is_help=True)
    token.command("create")(create)
    token.command("list")(list_tokens)
    token.command("revoke")(revoke)
    group = typer.Typer(help="Who may do what at the hub.", no_args_is_help=True)
    group.add_typer(token, name="token")
    access_people.register(group)
    access_ssh.register(group)
    app.add_typer(group, name="access")


@remote
async def create(
    session: Session,
    name: Name,
    role: Annotated[str, typer.Option(help="What it may do: skerry access role list.")],
    ttl: Annotated[str, typer.Option(help="How long it is good, at most 366d.")] = "30d",
) -> None:
    """Make an API token with a role. It is printed once, alone, so that a file can take it."""
    try:
        seconds = parse_duration(ttl)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use --ttl: {error}") from error
    async with session.hub() as hub:
        asked = AccessTokenRequest(name, role, seconds)
        made = await hub.send("POST", _PATH, asked, AccessTokenReply)
    session.screen.tell(
        made.token,
        {"name": made.name, "role": made.role, "token": made.token, "expires_at": made.expires_at},
    )
    session.screen.note(
        f"«{made.name}» may do what role {made.role} may until {iso(made.expires_at)} ({format_duration(seconds)}): "
        f"skerry … --hub {session.target.hub} --token-file FILE"
    )


@remote
async def list_tokens(session: Session) -> None:
    """List every API token that there is or was. Nobody can show a token again."""
    async with session.hub() as hub:
        found = await hub.get(_PATH, list[AccessTokenView])
    session.screen.show(tokens_table(found, session.clock.wall_ns()))


def tokens_table(found: list[AccessTokenView], now: int) -> Table:
    """One line for each token."""
    return Table(
        ("NAME", "ROLE", "STATE", "CREATED", "BY", "EXPIRES"),
        [
            (
                each.name,
                each.role,
                word(each.state),
                ago(each.created_at, now),
                each.created_by,
                _end(each, now),
            )
            for each in found
        ],
        found,
        empty="no API tokens: skerry access token create NAME --role ROLE makes one",
    )


def _end(token: AccessTokenView, now: int) -> Cell:
    left = (token.expires_at - now) / NS
    if token.state == "valid" and left > 0:
        return Cell(f"in {format_duration(left)}", raw=token.expires_at)
    return ago(token.expires_at, now) if left <= 0 else Cell("", raw=token.expires_at)


@remote
async def revoke(session: Session, name: Name) -> None:
    """Take an API token back: the hub refuses it from the next request on."""
    async with session.hub() as hub:
        done = await hub.send("DELETE", f"{_PATH}/{quote(name, safe='')}", None, AccessTokenView)
    session.screen.tell(
        f"token «{done.name}» is revoked: the hub refuses it, and sessions of browsers that it began",
        {"token": done.name, "order": "revoke"},
    )
