"""`skerry delete workload` and `skerry restart workload`: orders to the hub."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.session import Session, remote

Name = Annotated[str, typer.Argument(help="The workload's name.")]


def register(app: typer.Typer) -> None:
    """Adds both command groups."""
    for word, text, command in (
        ("delete", "End something everywhere and forget it.", delete_workload),
        ("restart", "Start something anew on all its nodes.", restart_workload),
    ):
        group = typer.Typer(help=text, no_args_is_help=True, callback=_group)
        group.command("workload")(command)
        app.add_typer(group, name=word)


def _group() -> None:
    """Keeps `workload` a word of its own although it is the only one."""


@remote
async def delete_workload(session: Session, name: Name) -> None:
    """End a workload on all its nodes and forget it. Its records stay."""
    async with session.hub() as hub:
        await hub.order("DELETE", f"/api/v1/workloads/{quote(name, safe='')}")
    session.screen.tell(
        f"workload «{name}» is deleted; its nodes end it as soon as they hear of it",
        {"workload": name, "order": "delete"},
    )


@remote
async def restart_workload(session: Session, name: Name) -> None:
    """Restart a workload on all its nodes."""
    async with session.hub() as hub:
        await hub.order("POST", f"/api/v1/workloads/{quote(name, safe='')}/restart")
    session.screen.tell(
        f"workload «{name}» is restarted as soon as its nodes hear of it",
        {"workload": name, "order": "restart"},
    )
