"""`skerry image load FILE`: container images for a node whose registry is out of reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skerry.cli.session import Session, remote
from skerry.wire.local import ImageLoad, ImagesLoaded

LOAD_SECONDS = 1800.0
"""Some gigabytes on a slow card."""


def register(app: typer.Typer) -> None:
    """Adds the command group."""
    group = typer.Typer(help="Container images of the node here.", no_args_is_help=True)
    group.command("load")(load)
    group.callback()(_group)
    app.add_typer(group, name="image")


def _group() -> None:
    """Keeps `load` a word of its own."""


@remote
async def load(
    session: Session,
    file: Annotated[Path, typer.Argument(help="As «docker save» or «podman save» writes it.")],
) -> None:
    """Load images from a file into the engine of the node here; workloads that wait for them start."""
    session.screen.note(f"loading {file} ...")
    async with session.node() as node:
        asked = ImageLoad(str(file.absolute()))
        loaded = await node.patient(LOAD_SECONDS).send("POST", "/v1/images", asked, ImagesLoaded)
    session.screen.tell("; ".join(loaded.lines) or f"{file} is loaded", {"loaded": loaded.lines})
