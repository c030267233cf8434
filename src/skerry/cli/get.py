"""`skerry get nodes|workloads|events`: from the hub; what one node knows when the hub cannot be reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from skerry.cli.http import Api
from skerry.cli.output import Cell, Table, ago, pairs, word
from skerry.cli.rows import records_table
from skerry.cli.session import Session, remote
from skerry.cli.times import parse_time
from skerry.kit.clock import NS
from skerry.kit.errors import NotFound
from skerry.kit.nearest import did_you_mean
from skerry.wire.local import NodeStatus
from skerry.wire.people import NodeView, Rows, WorkloadView
from skerry.wire.workload import Generation, WorkloadStatus

Name = Annotated[str | None, typer.Argument(help="Only this one.")]
EVENTS_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Show nodes, workloads or events.", no_args_is_help=True)
    group.command("nodes")(nodes)
    group.command("workloads")(workloads)
    group.command("events")(events)
    app.add_typer(group, name="get")


@remote
async def nodes(session: Session, name: Name = None) -> None:
    """Nodes with their state and age."""

    async def at_hub(hub: Api) -> Table:
        views = await hub.get("/api/v1/nodes", list[NodeView])
        return nodes_table(named(views, name, "node"), session.clock.wall_ns())

    async def at_node(node: Api) -> Table:
        status = await node.get("/v1/status", NodeStatus)
        return node_table(status)

    session.screen.show(await session.hub_first(at_hub, at_node))


@remote
async def workloads(session: Session, name: Name = None) -> None:
    """Workloads with their phase on every node."""

    async def at_hub(hub: Api) -> Table:
        views = await hub.get("/api/v1/workloads", list[WorkloadView], {"name": name})
        return workloads_table(views, session.clock.wall_ns())

    async def at_node(node: Api) -> Table:
        status = await node.get("/v1/status", NodeStatus)
        return node_workloads_table(status, session.clock.wall_ns(), name)

    session.screen.show(await session.hub_first(at_hub, at_node))


@remote
async def events(
    session: Session,
    name: Annotated[str, typer.Argument(help="The event's name; «*» matches anything.")] = "*",
    since: Annotated[str | None, typer.Option(help="10m (ten minutes ago) or a time.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = EVENTS_SHOWN,
) -> None:
    """Events, the newest last."""
    query = {
        "name": name,
        "kind": "event",
        "since": parse_time(since, session.clock.wall_ns()) if since else None,
        "limit": limit,
    }
    rows = await session.hub_first(
        lambda hub: hub.get("/api/v1/records", Rows, query),
        lambda node: node.get("/v1/records", Rows, query),
    )
    session.screen.show(records_table(rows.rows, with_node=True))


def named(views: list[NodeView], name: str | None, what: str) -> list[NodeView]:
    """All of them, or the one of this name. Raises NotFound."""
    if name is None:
        return views
    found = [view for view in views if view.name == name]
    if not found:
        known = did_you_mean(name, [view.name for view in views]) if views else "there is none"
        raise NotFound(f"cannot find {what} «{name}»: {known}")
    return found


def nodes_table(views: list[NodeView], now: int) -> Table:
    """The hub's nodes. «online» is the hub's judgement."""
    return Table(
        ("NAME", "STATE", "SEEN", "WORKLOADS", "VERSION", "LABELS"),
        [
            (
                view.name,
                word("online" if view.online else "offline"),
                ago(now - round(view.age * NS), now),
                f"{view.running}/{view.workloads}",
                view.version,
                pairs(view.labels),
            )
            for view in views
        ],
        views,
        "no nodes yet: «skerry token create», then «skerry node enroll» on the device",
    )


def node_table(status: NodeStatus) -> Table:
    """One node about itself."""
    running = sum(workload.phase == "running" for workload in status.workloads)
    row = (
        status.name,
        word(status.link.state),
        "now",
        f"{running}/{len(status.workloads)}",
        status.version,
        pairs(status.labels),
    )
    return Table(("NAME", "STATE", "SEEN", "WORKLOADS", "VERSION", "LABELS"), [row], [status])


_WORKLOAD_COLUMNS = ("NAME", "NODE", "PHASE", "READY", "RESTARTS", "SINCE", "MESSAGE")


def workloads_table(views: list[WorkloadView], now: int) -> Table:
    """One row for each workload on each of its nodes."""
    rows: list[tuple[Cell | str, ...]] = []
    for view in views:
        for node, status in view.nodes.items():
            if status is None:
                rows.append((view.name, node, "", "", "", "", "nothing heard from the node yet"))
            else:
                rows.append(_workload_row(node, status, now, view.generation))
        if not view.nodes:
            rows.append((view.name, "", "", "", "", "", "no node fits its «on»"))
    return Table(_WORKLOAD_COLUMNS, rows, views, "no workloads: «skerry apply -f FILE» makes one")


def node_workloads_table(status: NodeStatus, now: int, name: str | None = None) -> Table:
    """The workloads of one node, as it knows them."""
    found = [each for each in status.workloads if name in {None, each.workload}]
    if name is not None and not found:
        raise NotFound(f"cannot find workload «{name}»: node «{status.name}» does not have it")
    rows = [_workload_row(status.name, each, now) for each in found]
    return Table(_WORKLOAD_COLUMNS, rows, found, "this node has no workloads")


def _last_exit(status: WorkloadStatus) -> str:
    """How it ended, unless its message says so or nobody asks any more."""
    told = status.exit is None or status.phase == "running" or str(status.exit) in status.message
    return "" if told else f"last exit: {status.exit}"


def _workload_row(
    node: str, status: WorkloadStatus, now: int, wanted: Generation | None = None
) -> tuple[Cell | str, ...]:
    notes: Iterable[str] = (
        status.message,
        _last_exit(status),
        "not yet as last applied" if wanted and status.generation < wanted else "",
    )
    return (
        status.workload,
        node,
        word(status.phase),
        "yes" if status.ready else "no",
        str(status.restarts),
        ago(status.since, now),
        "; ".join(note for note in notes if note),
    )
