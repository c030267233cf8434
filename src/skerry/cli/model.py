"""`skerry model push FILE` and `skerry model scan DIR`: files to the hub, and which models scripts name."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.http import Api
from skerry.cli.output import Cell, Form, FormOption, Table, number, standard_screen, word
from skerry.cli.session import Session, remote
from skerry.core.model_configurations import CONFIGURATIONS
from skerry.core.model_scan import scan_files
from skerry.core.models import check_model
from skerry.kit.errors import InvalidInput
from skerry.kit.text_file import read_text
from skerry.kit.units import format_size
from skerry.wire.models import BlobState, ModelFile, ModelSource, ModelSpec
from skerry.wire.people import Apply, ApplyReply

PIECE = 4 * 1024 * 1024
"""Bytes of one request of an upload; a cut link costs no more than this."""

LAST_SECONDS = 600.0
"""The hub hashes the whole file before it answers the last piece."""


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Models that workloads need.", no_args_is_help=True)
    group.command("push")(push)
    group.command("scan")(scan)
    app.add_typer(group, name="model")


@remote
async def push(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The files of the model.")],
    name: Annotated[str, typer.Option(help="What workloads call the model.")],
    model_format: Annotated[
        str, typer.Option("--format", help="For people and programs, for example onnx.")
    ] = "",
) -> None:
    """Upload files to the hub and make a model of them, or change the one of that name."""
    described = [await asyncio.to_thread(_described, path) for path in files]
    spec = ModelSpec(name=name, files=described, source=ModelSource(hub=True), format=model_format)
    if faults := check_model(spec):
        raise InvalidInput("\n".join(f"cannot push model «{name}»: {fault}" for fault in faults))
    async with session.hub() as hub:
        for path, file in zip(files, described, strict=True):
            await _upload(session, hub, path, file)
        request = Apply([], models=[spec])
        reply = await hub.send("PUT", "/api/v1/workloads", request, ApplyReply)
    [applied] = reply.models
    session.screen.tell(
        f"model «{name}»: {word(applied.change).text}, {format_size(spec.size)}",
        {"name": name, "change": applied.change, "size": spec.size},
    )


def _described(path: Path) -> ModelFile:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ModelFile(path.name, digest, path.stat().st_size)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


async def _upload(session: Session, hub: Api, path: Path, file: ModelFile) -> None:
    """Sends what the hub does not have yet. Raises what the hub answers, InvalidInput when the file has changed."""
    where = f"/api/v1/blobs/{file.sha256}"
    state = await hub.get(where, BlobState)
    patient = hub.patient(LAST_SECONDS)
    if not state.complete:
        session.screen.note(f"uploading {path} ({format_size(file.size)}) ...")
    while not state.complete:
        data = await asyncio.to_thread(_piece, path, state.received)
        if not data and state.received < file.size:
            raise InvalidInput(f"cannot push {path}: it has become shorter meanwhile")
        query = {"offset": state.received, "size": file.size}
        state = await patient.upload(where, query, data, BlobState)


def _piece(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)


def scan(
    directory: Annotated[Path, typer.Argument(help="Scripts and cyberwave.yml or skerry.yml.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Say which models the scripts of a directory name, and where; nothing is run."""
    found = scan_files(_readable(directory))
    rows: list[tuple[Cell | str, ...]] = [
        (each.model, each.file, number(each.line), "") for each in found.found
    ]
    rows += [("", each.file, number(each.line), each.cause) for each in found.unknown]
    columns = ("MODEL", "FILE", "LINE", "PROBLEM")
    data = {"models": found.models, "found": found.found, "unknown": found.unknown}
    standard_screen(output).show(Table(columns, rows, data, "no models are named there"))


def _readable(directory: Path) -> Iterator[tuple[str, str]]:
    """The files worth scanning, by their paths within the directory."""
    if not directory.is_dir():
        raise InvalidInput(f"cannot scan {directory}: it is no directory")
    for path in sorted(directory.rglob("*")):
        if path.is_file() and (path.suffix == ".py" or path.name in CONFIGURATIONS):
            yield str(path.relative_to(directory)), read_text(path)
