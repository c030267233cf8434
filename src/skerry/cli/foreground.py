"""`skerry run FILE`: a workload on the node here, in the foreground, without the hub's knowing.

It is started as the node starts workloads, with its limits, its isolation and its socket, and ends with this command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.logs import Printer
from skerry.cli.session import Session, remote_text
from skerry.core.specs import parse_workloads
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text
from skerry.wire.codec import decode
from skerry.wire.local import RunNews
from skerry.wire.workload import WorkloadSpec, WorkloadStatus

_SIGNALLED = 128


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("run")(run)


@remote_text
async def run(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A file with one workload, as for «apply».")],
) -> None:
    """Run a workload on the node here until it ends or Ctrl-C; the fleet is not told. Ends with its exit code."""
    spec = _read(file)
    printer = Printer(session)
    ended: WorkloadStatus | None = None
    async with session.node() as node:
        async for line in node.lines("/v1/runs", body=spec):
            news = decode(line.encode(), RunNews, "the node's news of the run")
            if news.line is not None:
                printer.print(news.line)
            elif news.status is not None:
                session.screen.note(_shown(spec.name, news.status))
            elif news.lost:
                session.screen.note(f"workload «{spec.name}»: {news.lost}")
            ended = news.ended
    if ended is None:
        raise typer.Exit(1)
    session.screen.note(_shown(spec.name, ended))
    raise typer.Exit(exit_code(ended))


def _read(file: Path) -> WorkloadSpec:
    specs = parse_workloads(read_text(file), str(file))
    if len(specs) != 1:
        raise InvalidInput(
            f"cannot run {file}: it has {len(specs)} workloads, and one can be run at a time"
        )
    return specs[0]


def _shown(name: str, status: WorkloadStatus) -> str:
    why = f", {status.message}" if status.message else ""
    return f"workload «{name}»: {status.phase}{why}"


def exit_code(status: WorkloadStatus) -> int:
    """A shell's code for how the workload ended: its own, 128 and the signal, or 1 when nobody knows."""
    how = status.exit
    if how is None:
        return 1
    if how.signal is not None:
        return _SIGNALLED + how.signal
    return 1 if how.code is None else how.code
