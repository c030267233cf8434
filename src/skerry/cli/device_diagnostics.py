"""`skerry device diagnostics`: a device's diagnostics bundle through the hub. See docs/operate/diagnostics.md."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.diagnostics import tell_bundle
from skerry.cli.http import Api
from skerry.cli.session import Session, remote
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.wire.bundles import LONGEST, MOST_BYTES

_UNPACKED = 64 << 20
"""Bytes that a bundle has at most before it is compressed, with what a tar adds."""


@remote
async def diagnostics(
    session: Session,
    name: Annotated[str, typer.Argument(help="The device's name, or its id.")],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="The file to write; by default NAME.tar.zst here."
        ),
    ] = None,
) -> None:
    """Have a device make a diagnostics bundle, without secrets, and fetch it through its link to the hub."""
    from skerry.node.diagnostics.bundle import PART, read_manifest

    path = (to or Path(f"{quote(name, safe='')}.tar.zst")).absolute()
    if os.path.lexists(path):
        raise Refused(f"cannot write {path}: it is there already. Give another name with --to.")
    part = path.with_name(path.name + PART)
    try:
        async with session.hub() as hub:
            await _fetch(hub.patient(LONGEST), name, part)
        manifest = read_manifest(part, _UNPACKED)
        RealDisk().rename("diagnostics.keep", part, path)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    tell_bundle(session.screen, path, manifest.members, manifest.missing)


async def _fetch(hub: Api, name: str, part: Path) -> None:
    """Raises Transient when it does not come whole, Refused when it is too large, and OSError."""
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    left = MOST_BYTES
    with os.fdopen(fd, "wb") as file:
        try:
            async for data in hub.download(f"/api/devices/{quote(name, safe='')}/diagnostics", 0):
                left -= len(data)
                if left < 0:
                    raise Refused(
                        f"cannot take the bundle: it has more than {MOST_BYTES >> 20} MiB"
                    )
                file.write(data)
        except Transient as error:
            if left == MOST_BYTES:
                raise
            raise Transient(
                "cannot take the bundle: it was cut off on its way (the hub's log says why). Ask again."
            ) from error
        file.flush()
        RealDisk().sync("diagnostics.sync", file.fileno())
