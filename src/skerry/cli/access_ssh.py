"""`skerry access ssh list|revoke`: SSH certificates that the hub has issued. See docs/operate/developer-access.md."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry.cli.output import Table, ago, word
from skerry.cli.session import Session, remote
from skerry.kit.errors import InvalidInput
from skerry.wire.ssh import SshCertificateView, SshRevoke, SshRevoked

_PATH = "/api/v1/access/ssh"
_MOST_NAMED = 20


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="SSH certificates of people.", no_args_is_help=True)
    group.command("list")(list_certificates)
    group.command("revoke")(revoke)
    app.add_typer(group, name="ssh")


@remote
async def list_certificates(session: Session) -> None:
    """List the newest SSH certificates, the last first."""
    async with session.hub() as hub:
        found = await hub.get(_PATH, list[SshCertificateView])
    session.screen.show(certificates_table(found, session.clock.wall_ns()))


def certificates_table(found: list[SshCertificateView], now: int) -> Table:
    """One line for each certificate."""
    return Table(
        ("SERIAL", "WHO", "ROLE", "NODE", "OPENS", "STATE", "ISSUED"),
        [
            (
                str(each.serial),
                each.who,
                each.role,
                each.node,
                "status" if each.limited else "shell",
                word(each.state),
                ago(each.issued_at, now),
            )
            for each in found
        ],
        found,
        empty="no SSH certificates: skerry ssh NODE asks for one",
    )


@remote
async def revoke(
    session: Session,
    serial: Annotated[
        int | None, typer.Argument(min=1, help="The certificate's number, as «list» shows it.")
    ] = None,
    who: Annotated[
        str | None,
        typer.Option(
            help="Instead: every certificate of this person, also of sessions that outlast it."
        ),
    ] = None,
) -> None:
    """Take SSH certificates back: nodes refuse them as soon as they have heard of it, and sessions through the hub end."""
    if (serial is None) == (who is None):
        raise InvalidInput("cannot revoke: name a SERIAL, or a person with --who")
    async with session.hub() as hub:
        asked = SshRevoke(serial or 0, who or "")
        done = await hub.send("POST", f"{_PATH}/revoke", asked, SshRevoked)
    named = ", ".join(map(str, done.serials[-_MOST_NAMED:])) or "none was there"
    more = len(done.serials) - _MOST_NAMED
    told = f"{named} and {more} before" if more > 0 else named
    session.screen.tell(
        f"revoked: {told}. Nodes refuse them as soon as they hear of it; whoever is logged in through the hub is out within 20 s, on site when the session ends",
        {"serials": done.serials, "nodes": done.nodes, "order": "revoke"},
    )
