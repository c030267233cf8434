"""`skerry model push FILE` and `skerry model scan DIR`: files to the hub, and which models scripts name."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.http import Api
from skerry.cli.output import word
from skerry.cli.session import Session, remote
from skerry.core.models import check_model
from skerry.kit.errors import InvalidInput
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
    group.callback()(_group)
    app.add_typer(group, name="model")


def _group() -> None:
    """Keeps `push` a word of its own."""


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
