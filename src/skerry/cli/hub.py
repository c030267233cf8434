"""`skerry hub run|login|key|storage|backup|backups|restore` and `skerry token create`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli import authority, hub_backups, keys
from skerry.cli.assignments import read_assignments
from skerry.cli.http import CHECKS_SECONDS
from skerry.cli.session import Session, remote
from skerry.cli.storage import Streams, report_table
from skerry.hub.settings import settings_to_start
from skerry.kit.clock import iso
from skerry.kit.collector import uncollected
from skerry.kit.errors import InvalidInput
from skerry.kit.service_manager import ServiceManager
from skerry.kit.units import format_duration, parse_duration
from skerry.wire.people import LoginCode, TokenReply, TokenRequest
from skerry.wire.storage import StorageReport


def register(app: typer.Typer) -> None:
    """Adds both command groups."""
    hub = typer.Typer(help="The hub on this machine.", no_args_is_help=True, callback=_group)
    hub.command("run")(run)
    hub.command("login")(login)
    hub.command("backup")(hub_backups.backup)
    hub.command("backups")(hub_backups.backups)
    hub.command("restore")(hub_backups.restore)
    hub.command("storage")(storage)
    keys.register_hub(hub)
    authority.register_hub(hub)
    app.add_typer(hub, name="hub")
    token = typer.Typer(help="Enrolment tokens.", no_args_is_help=True, callback=_group)
    token.command("create")(create)
    app.add_typer(token, name="token")


def _group() -> None:
    """Keeps a group's only command a word of its own."""


def run(
    config: Annotated[
        list[Path] | None,
        typer.Option(help="The settings file, hub.yaml. May be repeated; a later one wins."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Overrides data_dir.")] = None,
    listen: Annotated[str | None, typer.Option(help="Overrides listen.")] = None,
    nodes_listen: Annotated[str | None, typer.Option(help="Overrides nodes.listen.")] = None,
) -> None:
    """Run the hub in the foreground until Ctrl-C."""
    given = {
        "data_dir": data_dir.absolute() if data_dir else None,
        "listen": listen,
        "nodes.listen": nodes_listen,
    }
    options = {path: str(value) for path, value in given.items() if value is not None}
    settings = settings_to_start(config or [], options)
    with uncollected():
        from skerry.hub import process, server

    process.set_up_logging()
    process.set_up_heap()
    process.set_up_collector()
    process.set_up_files()
    manager = ServiceManager.of(os.environ, os.getpid())  # noqa: TID251 - said to processes, not to people
    asyncio.run(server.serve(settings, manager=manager))


@remote
async def login(session: Session) -> None:
    """Print an address that signs one browser in to the hub's page, once, within ten minutes."""
    async with session.hub() as hub:
        code = await hub.send("POST", "/api/v1/login-codes", None, LoginCode)
    address = f"{session.target.hub}{code.path}"
    session.screen.tell(address, {"url": address, "expires_at": code.expires_at})


@remote
async def storage(session: Session, streams: Streams = False) -> None:
    """Show what uses the hub's disk: how much, since when, why it is kept."""
    async with session.hub() as hub:
        report = await hub.patient(CHECKS_SECONDS).get("/api/v1/storage", StorageReport)
    session.screen.show(report_table(report, session.clock.wall_ns(), streams=streams))


@remote
async def create(
    session: Session,
    *,
    ttl: Annotated[str, typer.Option(help="How long it can be used, for example 10m.")] = "1h",
    uses: Annotated[int, typer.Option(min=1, help="How many nodes it enrols.")] = 1,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="A label, KEY=VALUE, that its nodes get before their own. May be repeated."
        ),
    ] = None,
    hardware: Annotated[
        str, typer.Option(help="Only the device with this hardware id may use it.")
    ] = "",
    name_prefix: Annotated[str, typer.Option(help="How the names of its nodes must begin.")] = "",
) -> None:
    """Make a token that enrols nodes, by default one. It is printed once, alone, so that a file can take it."""
    try:
        seconds = parse_duration(ttl)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use --ttl: {error}") from error
    labels = read_assignments(label or [], "--label", "site=lab")
    asked = TokenRequest(seconds, uses, labels, hardware, name_prefix)
    async with session.hub() as hub:
        reply = await hub.send("POST", "/api/v1/tokens", asked, TokenReply)
    address = reply.address or session.target.hub
    session.screen.tell(
        reply.token,
        {"token": reply.token, "expires_at": reply.expires_at, "address": address},
    )
    many = "one node" if uses == 1 else f"{uses} nodes"
    session.screen.note(
        f"enrols {many} until {iso(reply.expires_at)} ({format_duration(seconds)}): "
        f"skerry node enroll --hub {address} --token-file FILE"
    )
