"""`skerry delete workload|model|node`, `skerry restart|rollback|history workload`: asked of the hub."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.apply import differences_table, paths, show_differences
from skerry.cli.authority import revoke_node
from skerry.cli.output import Cell, Form, Table, ago, number, word
from skerry.cli.session import Session, remote
from skerry.wire.people import (
    ApplyReply,
    NodeDeleted,
    Rollback,
    RolledBack,
    WorkloadVersion,
)

Name = Annotated[str, typer.Argument(help="The workload's name.")]
NodeName = Annotated[str, typer.Argument(help="The node's name.")]


def register(app: typer.Typer) -> None:
    """Adds the command groups."""
    for order, text, commands in (
        (
            "delete",
            "End something everywhere and forget it.",
            {"workload": delete_workload, "model": delete_model, "node": delete_node},
        ),
        ("revoke", "Withdraw a right at once.", {"node": revoke_node}),
        ("restart", "Start something anew on all its nodes.", {"workload": restart_workload}),
        ("history", "Show what something was told to be.", {"workload": workload_history}),
        ("rollback", "Go back to an earlier version.", {"workload": rollback_workload}),
    ):
        group = typer.Typer(help=text, no_args_is_help=True, callback=_group)
        for name, command in commands.items():
            group.command(name)(command)
        app.add_typer(group, name=order)


def _group() -> None:
    """Keeps `workload` a word of its own where it is the only one."""


@remote
async def delete_workload(session: Session, name: Name) -> None:
    """End a workload on all its nodes and forget it. Its records, and its directory on each node, stay."""
    async with session.hub() as hub:
        await hub.order("DELETE", f"/api/v1/workloads/{quote(name, safe='')}")
    session.screen.tell(
        f"workload «{name}» is deleted; its nodes end it as soon as they hear of it. "
        f"To bring it back: skerry rollback workload {name}",
        {"workload": name, "order": "delete"},
    )


@remote
async def delete_model(
    session: Session, name: Annotated[str, typer.Argument(help="The model's name.")]
) -> None:
    """Forget a model that no workload names; nodes drop its files when they need the room."""
    async with session.hub() as hub:
        await hub.order("DELETE", f"/api/v1/models/{quote(name, safe='')}")
    session.screen.tell(f"model «{name}» is deleted", {"model": name, "order": "delete"})


@remote
async def delete_node(session: Session, name: NodeName) -> None:
    """Forget a node: the hub no longer talks to it. Its records stay; what it runs goes on until it is ended there."""
    async with session.hub() as hub:
        path = f"/api/v1/nodes/{quote(name, safe='')}"
        deleted = await hub.send("DELETE", path, None, NodeDeleted)
    screen = session.screen
    screen.tell(
        f"node «{name}» is deleted; its records stay: skerry query --node {deleted.id}",
        {"node": name, "order": "delete", "id": deleted.id, "pinned": deleted.pinned},
    )
    screen.say("what it runs goes on there; end it on the device: skerry node stop --workloads")
    if deleted.pinned:
        screen.say(
            f"meant for this node only, and running nowhere now: {', '.join(deleted.pinned)}"
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


@remote
async def workload_history(session: Session, name: Name) -> None:
    """Show the versions of a workload that the hub keeps, the newest last."""
    async with session.hub() as hub:
        path = f"/api/v1/workloads/{quote(name, safe='')}/history"
        versions = await hub.get(path, list[WorkloadVersion])
    session.screen.show(history_table(versions, session.clock.wall_ns()))


def history_table(versions: list[WorkloadVersion], now: int) -> Table:
    """One line for each version."""
    return Table(
        ("VERSION", "WHEN", "WHO", "CHANGE", "FIELDS", "GENERATION", "TO"),
        [
            (
                number(each.number),
                ago(each.at, now),
                each.by or "unknown",
                word(each.change)
                if each.to is None
                else Cell(f"rollback to {each.to}", word("change").style, raw="rollback"),
                paths(each.fields) if each.change in {"change", "rollback"} else paths([]),
                f"{each.generation.epoch}.{each.generation.n}",
                Cell("", raw="" if each.to is None else each.to),
            )
            for each in versions
        ],
        versions,
        csv_only=frozenset({"GENERATION", "TO"}),
    )


@remote
async def rollback_workload(
    session: Session,
    name: Name,
    to: Annotated[
        int | None, typer.Option(min=1, help="The version; else the newest that differs.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
) -> None:
    """Make an earlier version of a workload the wanted one again; a deleted workload comes back."""
    path = f"/api/v1/workloads/{quote(name, safe='')}/rollback"
    async with session.hub() as hub:
        reply = await hub.send("POST", path, Rollback(to, dry_run), RolledBack)
    differences = ApplyReply([reply.workload])
    match session.screen.form:
        case Form.TABLE:
            show_differences(session, differences)
            done = "would be" if dry_run else "is"
            session.screen.say(f"workload «{name}» {done} again what it was in version {reply.to}")
        case Form.JSON:
            session.screen.show(Table((), (), reply))
        case Form.CSV:
            session.screen.show(differences_table(differences))
    if dry_run:
        session.screen.note("nothing was changed (--dry-run)")
