"""`skerry get nodes|devices|workloads|assignments|models|twins|alerts|events`: from the hub, or what the node here knows without it."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry.cli.assigned import assignments_table, specs_text
from skerry.cli.device import all_devices
from skerry.cli.device_tables import devices_table
from skerry.cli.fleet_tables import (
    lone_node_table,
    lone_node_workloads_table,
    nodes_table,
    workloads_table,
)
from skerry.cli.http import Api
from skerry.cli.model_tables import models_table
from skerry.cli.output import Table
from skerry.cli.rows import records_table
from skerry.cli.session import Session, remote
from skerry.cli.times import parse_time
from skerry.cli.twin_rows import find_alerts, find_twins
from skerry.cli.twin_tables import alerts_table, twins_table
from skerry.cli.workload_views import workload_views
from skerry.wire.local import NodeStatus
from skerry.wire.models import ModelView
from skerry.wire.people import AssignmentView, NodeView, Rows

Name = Annotated[str | None, typer.Argument(help="Only this one.")]
EVENTS_SHOWN = 100


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(
        help="Show nodes, devices, workloads, assignments, models, twins, alerts or events.",
        no_args_is_help=True,
    )
    group.command("nodes")(nodes)
    group.command("devices")(devices)
    group.command("workloads")(workloads)
    group.command("assignments")(assignments)
    group.command("models")(models)
    group.command("twins")(twins)
    group.command("alerts")(alerts)
    group.command("events")(events)
    app.add_typer(group, name="get")


@remote
async def nodes(session: Session, name: Name = None) -> None:
    """Nodes with their state and age."""

    async def at_hub(hub: Api) -> Table:
        return nodes_table(await hub.get("/api/v1/nodes", list[NodeView]), name)

    async def at_node(node: Api) -> Table:
        return lone_node_table(await node.get("/v1/status", NodeStatus), name)

    session.screen.show(await session.hub_first(at_hub, at_node))


@remote
async def devices(
    session: Session,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
) -> None:
    """Devices over their whole life, those out of service too."""
    found = await all_devices(session, label or [])
    session.screen.show(devices_table(found, session.clock.wall_ns()))


@remote
async def workloads(session: Session, name: Name = None) -> None:
    """Workloads with their phase on every node."""

    async def at_hub(hub: Api) -> Table:
        views, own = await workload_views(hub, name)
        return workloads_table(views, session.clock.wall_ns(), own)

    async def at_node(node: Api) -> Table:
        status = await node.get("/v1/status", NodeStatus)
        return lone_node_workloads_table(status, session.clock.wall_ns(), name)

    session.screen.show(await session.hub_first(at_hub, at_node))


@remote
async def models(session: Session, name: Name = None) -> None:
    """Models with their files and the workloads that name them."""
    async with session.hub() as hub:
        views = await hub.get("/api/v1/models", list[ModelView], {"name": name})
    session.screen.show(models_table(views))


@remote
async def assignments(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Only this workload.")] = None,
    node: Annotated[str | None, typer.Option(help="Only this node.")] = None,
    spec: Annotated[
        bool, typer.Option("--spec", help="Print them as workload files, in YAML.")
    ] = False,
) -> None:
    """What each node is told: its workloads, with its overrides."""
    async with session.hub() as hub:
        asked = {"workload": name, "node": node}
        views = await hub.get("/api/v1/assignments", list[AssignmentView], asked)
    if spec:
        session.screen.write(specs_text(views))
    else:
        session.screen.show(assignments_table(views))


@remote
async def twins(session: Session) -> None:
    """Cyberwave's twins, the devices that they are linked to, and whether their drivers are there."""
    async with session.hub() as hub:
        found = await find_twins(hub)
    devices = await all_devices(session, [])
    session.screen.show(twins_table(found, devices.devices, session.clock.wall_ns()))


@remote
async def alerts(
    session: Session,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
) -> None:
    """Alerts about twins that are not over, the newest last."""
    async with session.hub() as hub:
        found = await find_alerts(hub, every=every)
    session.screen.show(alerts_table(found, session.clock.wall_ns()))


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
    session.screen.show(records_table(rows.rows, with_node=True, empty="no events found"))
