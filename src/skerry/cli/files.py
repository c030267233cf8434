"""`skerry files list` and `skerry files get`: what workloads have uploaded, at the hub."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.http import Api
from skerry.cli.output import Cell, Table
from skerry.cli.session import Session, remote
from skerry.cli.times import parse_time
from skerry.core.names import is_sha256
from skerry.kit.clock import iso
from skerry.kit.errors import InvalidInput, NotFound, Refused, Transient
from skerry.kit.units import format_size
from skerry.wire.files import FileList, FileView

_PART = ".part"
_TRIES = 5
"""In a row that bring nothing."""

_SHOWN = 12
"""Characters of a hash in a table; JSON and CSV have all of them."""

Node = Annotated[str | None, typer.Option(help="Only this node's files.")]


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Files that workloads have uploaded.", no_args_is_help=True)
    group.command("list")(list_files)
    group.command("get")(get_file)
    app.add_typer(group, name="files")


@remote
async def list_files(
    session: Session,
    name: Annotated[str, typer.Argument(help="The file's name; «*» matches anything.")] = "*",
    node: Node = None,
    since: Annotated[str | None, typer.Option(help="10m (ten minutes ago) or a time.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
) -> None:
    """Files, the newest last."""
    start = parse_time(since, session.clock.wall_ns()) if since else None
    asked = {"name": name, "node": node, "since": start, "limit": limit}
    async with session.hub() as hub:
        found = await hub.get("/api/v1/files", FileList, asked)
    session.screen.show(files_table(found.files))
    if found.truncated:
        session.screen.note(f"more match; these are the newest {limit} (raise --limit)")


@remote
async def get_file(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name, or (the beginning of) the SHA-256.")],
    node: Node = None,
    output: Annotated[
        Path | None, typer.Option("--to", "-t", help="File or directory; by default here.")
    ] = None,
) -> None:
    """Download the newest file of that name; what an earlier try has brought is not fetched again."""
    async with session.hub() as hub:
        view = await _find(hub, name, node)
        target = _target(view, output)
        await _download(hub, view, target)
    session.screen.tell(
        f"{target}: {format_size(view.size)}, SHA-256 {view.sha256}",
        {"path": str(target), "size": view.size, "sha256": view.sha256},
    )


def files_table(files: list[FileView]) -> Table:
    """One row for each file."""
    return Table(
        ("TIME", "NAME", "NODE", "SOURCE", "SIZE", "ARRIVED", "SHA-256"),
        [
            (
                Cell(iso(file.at), raw=file.at),
                file.name,
                file.node,
                file.source,
                Cell(format_size(file.size), raw=file.size),
                _arrived(file),
                Cell(file.sha256[:_SHOWN], raw=file.sha256),
            )
            for file in files
        ],
        files,
        "no files: a workload uploads one by sdk.upload(path)",
    )


def _arrived(file: FileView) -> Cell:
    if file.complete:
        return Cell("yes", raw=file.arrived)
    return Cell(f"{file.arrived * 100 // max(file.size, 1)} %", "yellow", raw=file.arrived)


async def _find(hub: Api, name: str, node: str | None) -> FileView:
    found = await hub.get("/api/v1/files", FileList, {"name": name, "node": node, "limit": 1})
    if not found.files and len(name) >= 8 and is_sha256(name.lower().ljust(64, "0")):
        asked = {"sha256": name.lower(), "node": node, "limit": 1}
        found = await hub.get("/api/v1/files", FileList, asked)
    if not found.files:
        raise NotFound(f"cannot get file «{name}»: there is none. See: skerry files list")
    [view] = found.files
    if not view.complete:
        raise Refused(
            f"cannot get file «{view.name}»: {format_size(view.arrived)} of {format_size(view.size)} have arrived "
            f"from node «{view.node}». Try later."
        )
    return view


def _target(view: FileView, output: Path | None) -> Path:
    name = view.name.rpartition("/")[2] or view.sha256
    target = Path(name) if output is None else output
    return target / name if target.is_dir() else target


async def _download(hub: Api, view: FileView, target: Path) -> None:
    """Raises Transient when nothing comes any more (the part stays), Refused when it is something else."""
    part = target.with_name(f"{target.name}.{view.sha256[:8]}{_PART}")
    tries = 0
    try:
        while (have := _size(part)) < view.size or not part.exists():
            try:
                await _once(hub, view, part, have)
            except Transient:
                tries = tries + 1 if _size(part) == have else 0
                if tries == _TRIES:
                    raise
                await asyncio.sleep(0.2 * 2**tries)
        found = await asyncio.to_thread(_sha256, part)
        if found != view.sha256:
            part.unlink()
            raise Refused(
                f"cannot get file «{view.name}»: what came is {found[:12]}…, not {view.sha256[:12]}…. Try again."
            )
        part.replace(target)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from error


async def _once(hub: Api, view: FileView, part: Path, have: int) -> None:
    with part.open("ab") as file:
        async for data in hub.download(f"/api/v1/files/{view.sha256}/content", have):
            file.write(data)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
