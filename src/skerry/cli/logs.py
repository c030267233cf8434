"""`skerry logs`: what a workload printed, from the node here or through the hub from another one.

A line in a log is «TIME STREAM F text» (skerry.keeper.logs); people see «TIME text». On a terminal, control
characters of strangers are replaced.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.http import Api, Unreachable
from skerry.cli.session import Session, remote_text
from skerry.cli.times import parse_time
from skerry.kit.errors import NotFound
from skerry.wire.local import NodeStatus
from skerry.wire.people import WorkloadView

_LINE = re.compile(r"(\S+Z) (?:stdout|stderr) [FP] (.*)", re.DOTALL)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("logs")(logs)


@remote_text
async def logs(
    session: Session,
    name: Annotated[str, typer.Argument(help="The workload's name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    since: Annotated[
        str | None, typer.Option(help="10m (ten minutes ago) or a time; else the last 100 lines.")
    ] = None,
    node: Annotated[str | None, typer.Option(help="The node it runs on.")] = None,
) -> None:
    """Show a workload's output, one line each with its time."""
    query = {
        "since": parse_time(since, session.clock.wall_ns()) if since else None,
        "follow": follow or None,
    }
    async with contextlib.AsyncExitStack() as stack:
        api, path = await _source(session, stack, name, node)
        if not await copy_lines(session, api.text(path, query)):
            since_then = f" since {since}" if since else ""
            session.screen.note(f"workload «{name}» has printed nothing{since_then}")


async def copy_lines(session: Session, pieces: AsyncIterator[str]) -> bool:
    """Prints whole lines as they come. False: there was nothing to copy."""
    printed, rest = False, ""
    async for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        printed = printed or bool(lines)
        session.screen.write("".join(f"{_readable(session, line)}\n" for line in lines))
    if rest:
        session.screen.write(f"{_readable(session, rest)}\n")
    return printed or bool(rest)


def _readable(session: Session, line: str) -> str:
    match = _LINE.fullmatch(line)
    shown = f"{match[1]} {match[2]}" if match else line
    return printable(shown) if session.screen.console.is_terminal else shown


def printable(text: str) -> str:
    """A line without characters that could move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


async def _source(
    session: Session, stack: contextlib.AsyncExitStack, name: str, node: str | None
) -> tuple[Api, str]:
    """Who has the lines and under which path: the node here if it has the workload, else the hub."""
    if session.node_lives_here():
        api = await stack.enter_async_context(session.node())
        try:
            here = await api.get("/v1/status", NodeStatus)
        except Unreachable as error:
            session.screen.note(f"cannot reach {error.what} ({error.cause}); asking the hub")
        else:
            has_it = any(status.workload == name for status in here.workloads)
            if node in {None, here.name} and has_it:
                return api, f"/v1/logs/{quote(name, safe='')}"
    hub = await stack.enter_async_context(session.hub())
    node = node or await _only_node(hub, name)
    return hub, f"/api/v1/nodes/{quote(node, safe='')}/logs/{quote(name, safe='')}"


async def _only_node(hub: Api, workload: str) -> str:
    """The node that runs the workload, when there is exactly one. Raises NotFound naming the choice."""
    views = await hub.get("/api/v1/workloads", list[WorkloadView], {"name": workload})
    nodes = [node for view in views for node in view.nodes]
    if len(nodes) == 1:
        return nodes[0]
    if not nodes:
        raise NotFound(f"cannot read logs of «{workload}»: no node has it")
    raise NotFound(
        f"cannot read logs of «{workload}»: {len(nodes)} nodes have it. Choose one with --node: {', '.join(nodes)}"
    )
