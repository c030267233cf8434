"""`skerry delete workload|model|node` and `skerry restart workload`: orders to the hub."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.session import Session, remote
from skerry.wire.people import NodeDeleted

Name = Annotated[str, typer.Argument(help="The workload's name.")]
NodeName = Annotated[str, typer.Argument(help="The node's name.")]


def register(app: typer.Typer) -> None:
    """Adds both command groups."""
    for word, text, commands in (
        (
            "delete",
            "End something everywhere and forget it.",
            {"workload": delete_workload, "model": delete_model, "node": delete_node},
        ),
        ("restart", "Start something anew on all its nodes.", {"workload": restart_workload}),
    ):
        group = typer.Typer(help=text, no_args_is_help=True, callback=_group)
        for name, command in commands.items():
            group.command(name)(command)
        app.add_typer(group, name=word)


def _group() -> None:
    """Keeps `workload` a word of its own where it is the only one."""


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
