"""`skerry export` and `skerry import`: a node's unsent data to its hub on a stick, and the hub's receipt back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli import stick_files as files
from skerry.cli.http import Api
from skerry.cli.output import Raw
from skerry.cli.progress import Progress as Steps
from skerry.cli.session import Session, remote
from skerry.cli.steps import Pace
from skerry.kit.errors import Corrupt, InvalidInput, Refused, SkerryError, StorageFull
from skerry.kit.units import format_size, parse_size
from skerry.wire.codec import decode
from skerry.wire.local import NodeStatus
from skerry.wire.stick import (
    DATA_SUFFIX,
    PROBLEM,
    PROGRESS,
    RECEIPT_SUFFIX,
    BlockTaken,
    Progress,
    ReceiptTaken,
    frame,
    split,
)

HASHING = 600.0
"""Seconds without a byte that an export may take: a large file is read as a whole before its first one."""

LARGEST = 4 * 1024**3 - 1
"""Bytes of a file on FAT32."""

Target = Annotated[Path, typer.Argument(help="The directory under which the stick is mounted.")]


def register(app: typer.Typer) -> None:
    """Adds both commands."""
    app.command("export")(export_data)
    app.command("import")(import_data)


@remote
async def export_data(
    session: Session,
    target: Target,
    part: Annotated[str, typer.Option(help="The largest file; FAT32 takes 4GB.")] = "1GB",
) -> None:
    """Write what the hub does not have yet from the node here onto a stick; takes the receipts that are on it first."""
    size = _part_size(part)
    files.checked_target(target)
    async with session.node() as node:
        taken = await _take_receipts(session, node, target)
        await _drop_unfinished(node, target)
        with Steps(session.screen) as steps:
            written = await _export(session, node, target, size, steps)
    for problem in written.problems:
        session.screen.note(problem)
    facts: dict[str, Raw] = {
        "files": [str(path) for path in written.paths],
        "bytes": written.bytes,
        "records": written.end.records,
        "complete": written.end.complete,
        "acknowledged": taken.records,
    }
    session.screen.tell(_said(written, target), facts)
    if written.paths:
        session.screen.say(f"at the hub: skerry import {target}; then bring the stick back")


@remote
async def import_data(
    session: Session,
    target: Target,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="At the node: only take the hub's receipts.")
    ] = False,
) -> None:
    """Take what nodes have exported from a stick into the hub, and write the receipts for them onto it."""
    files.checked_target(target)
    if receipts:
        async with session.node() as node:
            taken = await _take_receipts(session, node, target)
        session.screen.tell(
            f"{taken.records} records and {taken.files} files are acknowledged that were not before",
            {"records": taken.records, "files": taken.files, "receipts": taken.count},
        )
        return
    if left := files.unfinished(target):
        session.screen.note(f"{len(left)} unfinished files are left alone: {left[0].name} …")
    waiting = files.data_files(target)
    if not waiting:
        raise InvalidInput(f"cannot import: there is no file of a node in {target} ({DATA_SUFFIX})")
    async with session.hub() as hub:
        with Steps(session.screen) as steps:
            totals = await _import_all(session, hub, waiting, steps)
    session.screen.tell(
        f"{totals.new} records and {totals.files} files are new at the hub, {totals.records - totals.new} records were "
        f"there; {totals.whole} of {len(waiting)} files were taken. Take the stick back to its node: skerry export",
        {
            "records": totals.records,
            "new": totals.new,
            "files": totals.files,
            "taken": totals.whole,
        },
    )
    if totals.problems:
        raise Refused("\n".join(totals.problems))


@dataclass
class _Written:
    """What an export has done."""

    paths: list[Path] = field(default_factory=list)
    bytes: int = 0
    end: Progress = Progress(0, 0, 0, 0)  # noqa: RUF009 - frozen
    problems: list[str] = field(default_factory=list)


@dataclass
class _Taken:
    """What receipts have brought."""

    records: int = 0
    files: int = 0
    count: int = 0


@dataclass
class _Totals:
    """What an import has brought; `whole` counts files of the stick without a problem."""

    records: int = 0
    new: int = 0
    files: int = 0
    whole: int = 0
    problems: list[str] = field(default_factory=list)


async def _export(session: Session, node: Api, target: Path, part: int, steps: Steps) -> _Written:
    written, unpacking = _Written(), files.Unpacking(target)
    pace = Pace(session.screen, steps, session.clock)
    path = f"/v1/stick?room={files.room_on(target)}&part={part}"
    try:
        async for kind, content in _frames(node.patient(HASHING).download(path, 0)):
            if kind == PROGRESS:
                written.end = decode(content, Progress, "the node's progress")
                pace.step(_how_far(written.end))
            elif kind == PROBLEM:
                written.problems.append(content.decode())
            else:
                unpacking.take(kind, content)
    except StorageFull as error:
        written.problems.append(str(error))
    finally:
        unpacking.stop()
    written.paths, written.bytes = unpacking.done, unpacking.bytes
    if not written.paths and not written.end.complete:
        why = "there is no room on it for anything. Remove something from the stick"
        raise Refused("\n".join(written.problems) or f"cannot export to {target}: {why}")
    return written


async def _frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
    data = bytearray()
    async for piece in pieces:
        data += piece
        while (found := split(data)) is not None:
            yield found


def _how_far(end: Progress) -> str:
    sizes = f", {format_size(end.bytes)} of {format_size(end.of_bytes)} of files"
    return f"exporting {end.records} of {end.of_records} records{sizes if end.of_bytes else ''}"


def _said(written: _Written, target: Path) -> str:
    if not written.paths:
        return "there is nothing to export: the hub has all that this node has, as far as is known here"
    what = f"{written.end.records} records are in {len(written.paths)} files ({format_size(written.bytes)}) in {target}"
    if written.end.complete:
        return f"{what}: all that the hub does not have yet"
    return f"{what}; not all had room or could be read. What is missing stays here: take the stick to the hub and export again"


async def _drop_unfinished(node: Api, target: Path) -> None:
    status = await node.get("/v1/status", NodeStatus)
    for path in files.unfinished(target, status.id) if status.id else []:
        path.unlink(missing_ok=True)


async def _take_receipts(session: Session, node: Api, target: Path) -> _Taken:
    taken = _Taken()
    for path in files.receipts(target):
        with files.reading(path) as file:
            data = file.read()
        try:
            found = await node.send_bytes("POST", "/v1/stick/receipt", data, ReceiptTaken)
        except (InvalidInput, Refused) as error:
            session.screen.note(f"receipt {path.name} is left alone: {error}")
            continue
        taken = _Taken(taken.records + found.records, taken.files + found.files, taken.count + 1)
        if found.note:
            session.screen.note(f"receipt {path.name}: {found.note}")
        if found.done:
            path.with_suffix(DATA_SUFFIX).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    if taken.records or taken.files:
        session.screen.note(
            f"receipts: the hub has {taken.records} records and {taken.files} files more than this node knew"
        )
    return taken


async def _import_all(session: Session, hub: Api, waiting: list[Path], steps: Steps) -> _Totals:
    """Files that follow others of the stick are tried again after them, for as long as that helps."""
    totals, pace = _Totals(), Pace(session.screen, steps, session.clock)
    left = _in_order(waiting)
    for _ in waiting:  # each round that helps is one that a file had to wait for
        problems: dict[Path, str] = {}
        before = totals.new + totals.files
        for path in left:
            problem = await _import(hub, path, totals, pace)
            if problem:
                problems[path] = f"cannot import {path.name}: {problem}"
            else:
                totals.whole += 1
        left = list(problems)
        totals.problems = list(problems.values())
        if not left or totals.new + totals.files == before:
            break
    return totals


def _in_order(waiting: list[Path]) -> list[Path]:
    def key(path: Path) -> tuple[int, int]:
        try:
            header, _ = files.header_of(path)
        except SkerryError:
            return (0, 0)  # `_import` says what is wrong with it
        return (header.made_at, header.part)

    return sorted(waiting, key=key)


async def _import(hub: Api, path: Path, totals: _Totals, pace: Pace) -> str:
    """Takes one file; returns why not all of it was taken. Raises Transient when the hub does not answer."""
    problems: list[str] = []
    try:
        _, head = files.header_of(path)
        for number, (kind, content) in enumerate(files.blocks_of(path)):
            try:
                taken = await _upload(hub, number, head + frame(kind, content))
            except InvalidInput as error:
                if not number:
                    return str(error)
                problems.append(str(error))  # a damaged block; what follows may be of other lanes
                continue
            totals.records += taken.records
            totals.new += taken.new
            totals.files += taken.files
            problems += [taken.problem] if taken.problem else []
            if taken.receipt:
                problems += _keep_receipt(path.with_suffix(RECEIPT_SUFFIX), taken.receipt)
            pace.step(f"importing {path.name}: {totals.records} records")
    except (Corrupt, InvalidInput, Refused) as error:
        problems.append(str(error))
    return problems[0] if problems else ""


def _keep_receipt(path: Path, receipt: bytes) -> list[str]:
    try:
        files.write_whole(path, receipt)
    except Refused as error:
        return [f"the hub has it, but {error}. Make room for the receipt and import again"]
    return []


async def _upload(hub: Api, number: int, data: bytes) -> BlockTaken:
    return await hub.upload("/api/v1/stick", {"number": number}, data, BlockTaken)


def _part_size(text: str) -> int:
    try:
        size = parse_size(text)
    except InvalidInput as error:
        raise InvalidInput(f"cannot use --part: {error}") from error
    return min(size, LARGEST)
