"""`skerry node run|enroll|status|models|stop|unlock|start-driver|key|backup|restore|diagnostics`: the node on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from skerry.cli import diagnostics, keys, limited, node_backups, ssh_setup
from skerry.cli.assignments import read_assignments
from skerry.cli.contexts import checked_hub
from skerry.cli.enrolment import enrol_here
from skerry.cli.fleet_tables import lone_node_workloads_table, nodes_table
from skerry.cli.http import Api, Unreachable
from skerry.cli.model_tables import cache_table
from skerry.cli.output import Form, FormOption, Table, standard_screen
from skerry.cli.session import Session, remote
from skerry.cli.states import node_lines
from skerry.kit.errors import Transient
from skerry.kit.text_file import read_stream, read_text
from skerry.node.identity import read_identity
from skerry.node.retirement import last_words
from skerry.node.settings import find_settings, node_settings
from skerry.wire.cyberwave import DriverOrdered
from skerry.wire.local import Held, NodeStatus, StopRequest
from skerry.wire.models import ModelCache
from skerry.wire.people import NodeView

STOP_SECONDS = 120.0
"""How long `node stop` waits for workloads, and then for the process: longer than any sensible grace period."""


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="The node on this machine.", no_args_is_help=True)
    group.command("run")(run)
    group.command("enroll")(enroll)
    group.command("status")(status)
    group.command("models")(models)
    group.command("stop")(stop)
    group.command("unlock")(unlock)
    group.command("start-driver")(start_driver)
    keys.register(group)
    node_backups.register(group)
    diagnostics.register(group)
    ssh_setup.register(group)
    limited.register(group)
    app.add_typer(group, name="node")


DataDir = Annotated[Path | None, typer.Option(help="The node's data directory.")]
Configs = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        help="The settings file; else node.yaml in there. May be repeated; a later one wins.",
    ),
]


def run(
    data_dir: DataDir = None,
    config: Configs = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Overrides a setting. May be repeated."),
    ] = None,
) -> None:
    """Run the node in the foreground until Ctrl-C; its workloads go on when it ends."""
    words = [sys.executable, "-P", "-m", "skerry.node"]
    given = [("--data-dir", data_dir)] if data_dir else []
    for option, path in (*given, *(("--config", file) for file in config or [])):
        words += [option, str(path.absolute())]
    for assignment in setting or []:
        words += ["--set", assignment]
    standard_screen(Form.TABLE).note("running the node; Ctrl-C ends it, its workloads go on")
    # A fresh process: the command line's libraries would stay in the node's memory for ever.
    os.execv(words[0], words)  # noqa: S606 - a list, no shell


@remote
async def status(session: Session) -> None:
    """Show the node here: link, workloads, problems. Ends with 1 where what its twins need is not there."""
    now = session.clock.wall_ns()
    over = last_words(session.target.data_dir)
    if over:
        data: dict[str, str | bool] = {
            "data_dir": str(session.target.data_dir),
            "decommissioned": True,
            "message": over,
        }
        session.screen.tell(over, data)
        return

    found: list[NodeStatus] = []

    async def at_node(node: Api) -> Table:
        found.append(await node.get("/v1/status", NodeStatus))
        return node_table(found[-1], now)

    async def at_hub(hub: Api) -> Table:
        views = await hub.get("/api/v1/nodes", list[NodeView])
        return nodes_table(views, _name_of(session.target.data_dir))

    session.screen.show(await session.node_first(at_node, at_hub))
    if any(tick.ok is False for one in found if one.cyberwave for tick in one.cyberwave.ticks):
        raise typer.Exit(1)


def _name_of(data_dir: Path) -> str:
    """What the hub calls the node in `data_dir`; the host's own name when it has never been enrolled."""
    identity = read_identity(data_dir)
    if identity is not None:
        return identity.name
    return str(find_settings(options={"data_dir": str(data_dir)})["name"].value)


def node_table(status: NodeStatus, now_ns: int) -> Table:
    """A node about itself: its workloads, below who it is. Programs get all of it in JSON."""
    return dataclasses.replace(
        lone_node_workloads_table(status, now_ns, isolation=True),
        data=status,
        lead=list(node_lines(status, now_ns)),
    )


@remote
async def models(session: Session) -> None:
    """Show the models of the node here: what is fetched, who needs them, when they were used last."""
    async with session.node() as node:
        cache = await node.get("/v1/models", ModelCache)
    session.screen.show(cache_table(cache, session.clock.wall_ns()))


@remote
async def stop(
    session: Session,
    workloads: Annotated[
        bool, typer.Option("--workloads", help="End the workloads too; without it they go on.")
    ] = False,
) -> None:
    """End the node on this machine."""
    async with session.node() as node:
        if workloads:
            await _tell_locks(session, node)
        await node.patient(STOP_SECONDS).order("POST", "/v1/stop", StopRequest(workloads))
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await _until_gone(node)
        except TimeoutError as error:
            raise Transient(
                f"cannot stop {node.what}: it still answers after {STOP_SECONDS:.0f} s. Its log says why."
            ) from error
    session.screen.tell(
        "the node has ended" + (", with its workloads" if workloads else "; its workloads go on"),
        {"data_dir": str(session.target.data_dir), "ended": True, "workloads_ended": workloads},
    )


async def _tell_locks(session: Session, node: Api) -> None:
    """Who asks for a stop decides over what the workloads say; but they should know."""
    now = session.clock.wall_ns()
    for status in (await node.get("/v1/status", NodeStatus)).workloads:
        if status.locked_until is not None and status.locked_until > now:
            session.screen.note(
                f"workload «{status.workload}» has locked updates: it is ended all the same"
            )


@remote
async def unlock(
    session: Session, workload: Annotated[str, typer.Argument(help="The workload's name.")]
) -> None:
    """Take a workload's update lock away: what waits for it begins at once."""
    async with session.node() as node:
        await node.send("POST", f"/v1/unlock/{quote(workload, safe='')}", None, Held)
    session.screen.tell(
        f"updates of workload «{workload}» are not locked any more",
        {"workload": workload, "order": "unlock"},
    )


@remote
async def start_driver(
    session: Session, twin: Annotated[str, typer.Argument(help="The twin's UUID.")]
) -> None:
    """Start a twin's driver that was stopped because it ended by itself too often: its ends are forgotten."""
    async with session.node() as node:
        path = f"/v1/drivers/{quote(twin, safe='')}/start"
        done = await node.send("POST", path, None, DriverOrdered)
    session.screen.tell(
        f"driver of twin {twin}: {done.message}", {"twin": twin, "message": done.message}
    )


async def _until_gone(node: Api) -> None:
    try:
        while True:
            await node.get("/v1/status", NodeStatus)
            await asyncio.sleep(0.05)
    except Unreachable:
        return


def enroll(  # noqa: PLR0913 - one argument for each option
    *,
    hub: Annotated[str, typer.Option(metavar="URL", help="The hub to belong to.")],
    token_file: Annotated[
        Path | None, typer.Option(help="The file with the one-time token; else stdin.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What to be called; else the host's name.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="The hub has deleted this node; keeps its name.")
    ] = False,
    data_dir: DataDir = None,
    config: Configs = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Make this machine a node of a hub. The token comes from a file or stdin, never from the command line."""
    options = {
        "name": name,
        "labels": json.dumps(read_assignments(label, "--label", "site=lab")) if label else None,
        "data_dir": str(data_dir.absolute()) if data_dir else None,
    }
    given = {path: value for path, value in options.items() if value is not None}
    settings = node_settings(find_settings(config or [], options=given))
    former = read_identity(settings.data_dir) if again else None
    if former is not None:
        settings = msgspec.structs.replace(
            settings,
            name=name or former.name,
            labels=settings.labels if label else former.labels,
        )
    screen = standard_screen(output)
    if token_file is None and sys.stdin.isatty():
        screen.note("paste the token, then press Ctrl-D")
    token = read_text(token_file) if token_file else read_stream(sys.stdin.buffer, "stdin")
    identity = asyncio.run(enrol_here(settings, checked_hub(hub), token, again=again))
    screen.tell(
        f"this is now node «{identity.name}» of the hub at {identity.hub_url}",
        {
            "id": identity.node_id,
            "name": identity.name,
            "hub": identity.hub_url,
            "data_dir": str(settings.data_dir),
        },
    )
    screen.say(f"start it: skerry node run --data-dir {settings.data_dir}")
