"""`skerry update pause|resume|abort workload NAME`: changes that go through their nodes in waves."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import typer

from skerry.cli.change import Name
from skerry.cli.session import Session, remote


def register(app: typer.Typer) -> None:
    """Adds the command groups."""
    group = typer.Typer(help="A change on its way through its nodes.", no_args_is_help=True)
    for order, text, workload in (
        ("pause", "Give it to no further node.", pause_workload),
        ("resume", "Let it go on.", resume_workload),
        ("abort", "Take it back.", abort_workload),
    ):
        group.add_typer(_order(text, workload), name=order)
    app.add_typer(group, name="update")


def _order(text: str, workload: Callable[..., None]) -> typer.Typer:
    group = typer.Typer(help=text, no_args_is_help=True, callback=_group)
    group.command("workload")(workload)
    return group


def _group() -> None:
    """Keeps `workload` a word of its own."""


@remote
async def pause_workload(session: Session, name: Name) -> None:
    """Give the change of a workload to no further node."""
    await _send(session, "pause", name, "is paused")


@remote
async def resume_workload(session: Session, name: Name) -> None:
    """Let the change of a workload go on; nodes that have failed are passed over."""
    await _send(session, "resume", name, "goes on")


@remote
async def abort_workload(session: Session, name: Name) -> None:
    """Take the change of a workload back, on the nodes that have it already."""
    await _send(session, "abort", name, "is taken back")


async def _send(session: Session, order: str, name: str, done: str) -> None:
    async with session.hub() as hub:
        await hub.order("POST", f"/api/v1/workloads/{quote(name, safe='')}/update/{order}")
    session.screen.tell(
        f"the update of workload «{name}» {done}", {"workload": name, "order": f"update {order}"}
    )
