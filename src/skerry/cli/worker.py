"""`skerry worker start|stop|restart|status|health|logs`: the worker groups of the node here.

`status` and `health` also answer when the node does not run: then from its store, which is only read.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import typer

from skerry.cli.http import Api, Unreachable
from skerry.cli.logs import print_log
from skerry.cli.session import Session, remote, remote_text
from skerry.cli.times import parse_time
from skerry.cli.worker_health import EXIT_CODES, judge
from skerry.cli.worker_tables import health_table, worker_table
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, NotFound
from skerry.kit.sqlite_connections import connect
from skerry.node.keys import read_keys
from skerry.node.settings import database_of, find_settings, node_settings
from skerry.node.store.instances import InstanceReader
from skerry.node.store.workers import WorkerReader
from skerry.node.workloads.transitions import Moment
from skerry.node.workloads.workers.report import Seen, worker_statuses
from skerry.node.workloads.workers.scripts import look_at
from skerry.wire.local import NodeStatus, WorkerOrder, WorkerStatus
from skerry.wire.logs import LogQuery
from skerry.wire.models import CachedModel, ModelCache

_STOPPED = "when the node runs again"

Name = Annotated[
    str | None, typer.Argument(help="The group's name; may be left out when there is only one.")
]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="The worker groups of the node here.", no_args_is_help=True)
    for command in (start, stop, restart, status, health, logs):
        group.command(command.__name__)(command)
    app.add_typer(group, name="worker")


@remote
async def start(session: Session, name: Name = None) -> None:
    """Start a group that was stopped or has ended; one that runs goes on."""
    await _order(session, "start", name)


@remote
async def stop(session: Session, name: Name = None) -> None:
    """Stop a group until it is started again by hand, also over reboots."""
    await _order(session, "stop", name)


@remote
async def restart(session: Session, name: Name = None) -> None:
    """Restart a group now, with the scripts as they are; it counts for no limit and none holds it up."""
    await _order(session, "restart", name)


@remote
async def status(session: Session, name: Name = None) -> None:
    """Show the groups: phase, image, scripts, models, what waits and why, the last restarts, whether all is well."""
    groups, runs = await _groups(session)
    shown = groups if name is None else [_chosen(groups, name)]
    judged = judge(shown, node_runs=runs) if shown else None
    models = await _models(session) if runs and any(group.models for group in shown) else {}
    session.screen.show(worker_table(shown, session.clock.wall_ns(), judged, models))


@remote
async def health(session: Session, name: Name = None) -> None:
    """Say whether the groups are well, one reason in each line, with their breakers and restarts. Ends with 0 ok, 1 degraded, 2 down."""
    groups, runs = await _groups(session)
    judged = judge(groups if name is None else [_chosen(groups, name)], node_runs=runs)
    session.screen.show(health_table(judged))
    raise typer.Exit(EXIT_CODES[judged.health])


@remote_text
async def logs(
    session: Session,
    name: Name = None,
    follow: Annotated[bool, typer.Option(help="Go on as lines come.")] = True,
    since: Annotated[
        str | None, typer.Option(help="10m (ten minutes ago) or a time; else the last 100 lines.")
    ] = None,
) -> None:
    """Show what a group prints, and go on as lines come."""
    begin = parse_time(since, session.clock.wall_ns()) if since else None
    async with session.node() as node:
        group = (await _one(node, name)).status.workload
        if not await print_log(session, node, group, LogQuery(begin, follow=follow)):
            session.screen.note(f"worker group «{group}» has printed nothing")


async def _order(
    session: Session, order: Literal["start", "stop", "restart"], name: str | None
) -> None:
    async with session.node() as node:
        group = (await _one(node, name)).status.workload
        await node.order("POST", f"/v1/workers/{quote(group, safe='')}", WorkerOrder(order, _me()))
    done = {"start": "is started", "stop": "is stopped", "restart": "is restarted"}[order]
    session.screen.tell(f"worker group «{group}» {done}", {"workload": group, "order": order})


def _me() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


async def _asked(node: Api) -> list[WorkerStatus]:
    return await node.get("/v1/workers", list[WorkerStatus])


async def _one(node: Api, name: str | None) -> WorkerStatus:
    """As `_chosen`, from the node."""
    groups = await _asked(node)
    if not groups and name is None:
        why = await _device_lacks(node) or "apply a workload with «worker»"
        raise NotFound(f"cannot find a worker group on this node: {why}")
    return _chosen(groups, name)


async def _device_lacks(node: Api) -> str:
    """Why a device that serves Cyberwave's twins has no worker; empty: it is no such device."""
    served = (await node.get("/v1/status", NodeStatus)).cyberwave
    if served is None:
        return ""
    wrong = next((tick.detail for tick in served.ticks if tick.ok is False), "")
    return wrong or "put a script into «workers» of the configuration directory"


async def _models(session: Session) -> dict[str, CachedModel]:
    async with session.node() as node:
        cache = await node.get("/v1/models", ModelCache)
    return {model.name: model for model in cache.models}


async def _groups(session: Session) -> tuple[list[WorkerStatus], bool]:
    """The groups, and whether the node runs; if not, what its store knows."""
    try:
        async with session.node() as node:
            groups = await _asked(node)
            if not groups and (why := await _device_lacks(node)):
                session.screen.note(f"this device has no worker: {why}")
            return groups, True
    except Unreachable as error:
        if not _store_of(session).is_file():
            raise
        session.screen.note(
            f"cannot reach {error.what} ({error.cause}): this is what its store knows"
        )
    return _stored(session), False


def _store_of(session: Session) -> Path:
    return database_of(find_settings(options={"data_dir": str(session.target.data_dir)}))


def _stored(session: Session) -> list[WorkerStatus]:
    clock = session.clock
    moment = Moment(clock.wall_ns(), clock.monotonic_ns(), clock.boot_id())
    settings = node_settings(find_settings(options={"data_dir": str(session.target.data_dir)}))
    cipher = read_keys(settings, RealDisk(), clock).cipher("store")
    with contextlib.closing(connect(_store_of(session), read_only=True)) as connection:
        workloads = InstanceReader(connection, cipher).load()
        seen = {
            name: Seen(look_at(worker), moment.monotonic)
            for name, one in workloads.items()
            if (worker := one.assignment.spec.worker) is not None
        }
        rows = WorkerReader(connection, cipher)
        return worker_statuses(workloads, rows, seen, moment, watched=_STOPPED)


def _chosen(groups: list[WorkerStatus], name: str | None) -> WorkerStatus:
    """The group of that name, or the only one. Raises NotFound or InvalidInput."""
    names = [group.status.workload for group in groups]
    if name is not None:
        found = [group for group in groups if group.status.workload == name]
        if not found:
            known = f": it has {', '.join(names)}" if names else ", nor any other"
            raise NotFound(f"cannot find worker group «{name}» on this node{known}")
        return found[0]
    if len(groups) > 1:
        raise InvalidInput(f"which worker group? Name one of {', '.join(names)}")
    return groups[0]
