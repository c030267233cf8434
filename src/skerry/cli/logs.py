"""`skerry logs`: what a workload printed, from the node here or through the hub from others.

People see «TIME text» of the lines that `core.log_lines` describes, in the colour of their level on a terminal, where
control characters of strangers are replaced as well. Of a node that has no link to the hub, there is what it has sent
before (`logs.ship` of the workload).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.text import Text

from skerry.cli.http import Api, Query, Unreachable
from skerry.cli.rows import left_out
from skerry.cli.session import Session, remote_text
from skerry.cli.times import parse_time
from skerry.cli.workload_views import workload_views
from skerry.core.log_lines import LEVELS, Levels, level_named, parse_line, record_line, shipped_name
from skerry.kit.errors import InvalidInput, NotFound, SkerryError, Transient
from skerry.kit.nearest import did_you_mean
from skerry.wire.local import NodeStatus
from skerry.wire.logs import LogQuery
from skerry.wire.people import Rows
from skerry.wire.workload import Level

_STYLES: Final[Mapping[Level | None, str]] = {
    "debug": "dim",
    "warning": "yellow",
    "error": "red",
    "critical": "bold red",
}
_MOST_SHIPPED = 10_000


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("logs")(logs)


@remote_text
async def logs(  # noqa: PLR0913 - one parameter for each option
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="The workload's name.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    since: Annotated[
        str | None, typer.Option(help="10m (ten minutes ago) or a time; else the last 100 lines.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="As --since; not included.")] = None,
    level: Annotated[
        str | None, typer.Option(help="Only lines of this level and above: warning, error, …")
    ] = None,
    node: Annotated[
        str | None, typer.Option(help="The node it runs on; else every node that has it.")
    ] = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="What the hub was sent, without asking the node.")
    ] = False,
) -> None:
    """Show a workload's output, one line each with its time."""
    now = session.clock.wall_ns()
    query = LogQuery(
        parse_time(since, now) if since else None,
        parse_time(until, now) if until else None,
        _level(level) if level else None,
        follow,
    )
    _refuse_nonsense(query, shipped=shipped)
    async with contextlib.AsyncExitStack() as stack:
        here = None if shipped else await _node_here(session, stack, name, node)
        if here is not None:
            printed = await print_log(session, here, name, query)
        else:
            hub = await stack.enter_async_context(session.hub())
            nodes = [node] if node else await _nodes(hub, name)
            reader = _AtHub(session, hub, name, query, shipped=shipped)
            printed = await reader.print_all(nodes)
    if not printed:
        bounds = [f"since {since}" if since else "", f"until {until}" if until else ""]
        kind = f" of level {query.level}" if query.level else ""
        span = "".join(f" {bound}" for bound in bounds if bound)
        session.screen.note(f"workload «{name}» has printed nothing{kind}{span}")


async def print_log(session: Session, node: Api, workload: str, query: LogQuery) -> bool:
    """Prints what the node's admin socket answers. False: there was nothing."""
    source = _Source(node, f"/v1/logs/{quote(workload, safe='')}")
    return await Printer(session).copy(source.lines(query))


def _level(word: str) -> Level:
    level = level_named(word)
    if level is None:
        raise InvalidInput(f"cannot read the level «{word}»: {did_you_mean(word, LEVELS)}")
    return level


def _refuse_nonsense(query: LogQuery, *, shipped: bool) -> None:
    if query.since is not None and query.until is not None and query.since >= query.until:
        raise InvalidInput("cannot read logs: --since is not before --until")
    if query.follow and (shipped or query.until is not None):
        raise InvalidInput("cannot follow logs with --until or --shipped: leave one of them out")


@dataclass(frozen=True)
class _Source:
    """Where the lines of one node's log are to be had."""

    api: Api
    path: str

    async def lines(self, query: LogQuery) -> AsyncIterator[str]:
        """Whole lines as they come."""
        asked: Query = dict(query.arguments())
        async for line in self.api.lines(self.path, asked):
            yield line


class Printer:
    """Prints the lines of one log, each behind `prefix`."""

    def __init__(self, session: Session, prefix: str = "") -> None:
        self._screen = session.screen
        self._prefix = prefix
        self._levels = Levels()

    async def copy(self, lines: AsyncIterator[str]) -> bool:
        """Prints everything. False: there was nothing."""
        printed = False
        async for line in lines:
            printed = True
            self.print(line)
        return printed

    def print(self, line: str) -> None:
        """One line, as a log has it."""
        parsed = parse_line(line)
        shown = self._prefix + (f"{parsed.at} {parsed.text}" if parsed else line)
        if not self._screen.console.is_terminal:
            self._screen.write(f"{shown}\n")
            return
        style = _STYLES.get(self._levels.of(parsed) if parsed else None, "")
        self._screen.console.print(Text(printable(shown), style), soft_wrap=True)


def printable(text: str) -> str:
    """A line without characters that could move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


class _AtHub:
    """Reads one workload's logs of any number of nodes through the hub."""

    def __init__(
        self, session: Session, hub: Api, workload: str, query: LogQuery, *, shipped: bool
    ) -> None:
        self._session = session
        self._hub = hub
        self._workload = workload
        self._query = query
        self._shipped = shipped

    async def print_all(self, nodes: list[str]) -> bool:
        """One node's lines as they come; those of several by their time, or as they come when they are followed."""
        if len(nodes) == 1:
            return await Printer(self._session).copy(self._lines(nodes[0]))
        printers = {node: Printer(self._session, f"{node} | ") for node in nodes}
        if self._query.follow:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(printers[node].copy(self._told(node))) for node in nodes]
            return any(task.result() for task in tasks)
        async with asyncio.TaskGroup() as group:
            readings = [group.create_task(self._collected(node)) for node in nodes]
        merged = list(heapq.merge(*(reading.result() for reading in readings)))
        for _, node, line in merged:
            printers[node].print(line)
        return bool(merged)

    async def _collected(self, node: str) -> list[tuple[str, str, str]]:
        """(time, node, line); a line without a time has that of the line before."""
        found, at = [], ""
        async for line in self._told(node):
            parsed = parse_line(line)
            at = max(at, parsed.at) if parsed else at
            found.append((at, node, line))
        return found

    async def _told(self, node: str) -> AsyncIterator[str]:
        """The lines of one of several nodes: its trouble is told and does not keep the others from being read."""
        try:
            async for line in self._lines(node):
                yield line
        except Unreachable:
            raise
        except SkerryError as error:
            self._session.screen.note(f"node «{node}»: {error}")

    async def _lines(self, node: str) -> AsyncIterator[str]:
        if self._shipped:
            rows = await self._sent(node)
        else:
            path = f"/api/v1/nodes/{quote(node, safe='')}/logs/{quote(self._workload, safe='')}"
            try:
                async for line in _Source(self._hub, path).lines(self._query):
                    yield line
            except Unreachable:
                raise
            except Transient as error:  # the node has no link to the hub
                rows = await self._sent_instead(node, error)
            else:
                return
        if rows.truncated:
            self._session.screen.note(f"more was sent; these are the newest {len(rows.rows)} lines")
        if rows.damaged:
            self._session.screen.note(left_out(rows.damaged))
        for row in rows.rows:
            yield record_line(row)

    async def _sent_instead(self, node: str, missed: Transient) -> Rows:
        rows = await self._sent(node)
        if not rows.rows:
            raise Transient(
                f"{missed} Nothing of this log was sent to the hub before (logs.ship of the workload)."
            ) from missed
        self._session.screen.note(f"node «{node}»: {missed} These lines it had sent before.")
        return rows

    async def _sent(self, node: str) -> Rows:
        query = self._query
        asked: Query = {
            "name": shipped_name(self._workload),
            "node": node,
            "since": query.since,
            "until": query.until,
            "limit": 100 if query.since is None else _MOST_SHIPPED,
        }
        rows = await self._hub.get("/api/v1/records", Rows, asked)
        if query.level is None:
            return rows
        wanted = LEVELS[LEVELS.index(query.level) :]
        kept = [row for row in rows.rows if row.meta.get("level") in wanted]
        return Rows(kept, rows.truncated, rows.damaged)


async def _node_here(
    session: Session, stack: contextlib.AsyncExitStack, name: str, node: str | None
) -> Api | None:
    """The node here, if it has the workload and is meant."""
    if not session.node_lives_here():
        return None
    api = await stack.enter_async_context(session.node())
    try:
        here = await api.get("/v1/status", NodeStatus)
    except Unreachable as error:
        session.screen.note(f"cannot reach {error.what} ({error.cause}); asking the hub")
        return None
    has_it = any(status.workload == name for status in here.workloads)
    return api if node in {None, here.name} and has_it else None


async def _nodes(hub: Api, workload: str) -> list[str]:
    """The nodes that run the workload. Raises NotFound when there is none."""
    views, own = await workload_views(hub, workload)
    nodes = [node for view in views for node in view.nodes]
    nodes += [node for one in own for node in one.nodes]
    if not nodes:
        raise NotFound(f"cannot read logs of «{workload}»: no node has it")
    return nodes
