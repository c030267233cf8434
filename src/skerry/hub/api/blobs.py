"""Blobs over HTTP: people upload them in pieces, nodes download them by range. See docs/reference/models.md."""

from __future__ import annotations

from litestar import Request, Router, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, SkipValidation
from litestar.response import Stream

from skerry.core.names import is_sha256
from skerry.hub.api.auth import NODE, READ, WRITE, Principal
from skerry.hub.api.ranges import part_of
from skerry.hub.ports import Blobs
from skerry.kit.errors import InvalidInput, NotFound
from skerry.wire.models import BlobState

AnyRequest = Request[Principal, None, State]

GivenBlobs = SkipValidation[NamedDependency[Blobs]]
"""A protocol cannot be checked at run time."""

BYTES = "application/octet-stream"
"""How contents of models and files are named on their way."""


@get("/api/v1/blobs/{sha256:str}", opt=READ)
async def blob_state(sha256: FromPath[str], blobs: GivenBlobs) -> BlobState:
    """How much of a blob the hub has: where its upload goes on."""
    return await blobs.state(checked_sha256(sha256))


@put("/api/v1/blobs/{sha256:str}", opt=WRITE)
async def upload_blob(
    request: AnyRequest,
    sha256: FromPath[str],
    blobs: GivenBlobs,
    offset: FromQuery[int],
    size: FromQuery[int],
) -> BlobState:
    """Takes one piece of a blob, as the request's body. The answer says from where to go on."""
    if not 0 <= offset <= size:
        raise InvalidInput(f"cannot take a piece at {offset} of a blob of {size} bytes")
    return await blobs.add(checked_sha256(sha256), offset, size, await request.body())


@get("/sync/v1/blobs/{sha256:str}", opt=NODE, media_type=BYTES)
async def download_blob(request: AnyRequest, sha256: FromPath[str], blobs: GivenBlobs) -> Stream:
    """A blob, or the part of it that the header Range asks for."""
    size = await blobs.size(checked_sha256(sha256))
    if size is None:
        raise NotFound(f"cannot send blob {sha256[:12]}…: the hub does not have it")
    return by_range(request, blobs, sha256, size)


def by_range(
    request: AnyRequest, blobs: Blobs, sha256: str, size: int, named: dict[str, str] | None = None
) -> Stream:
    """A complete blob, or the part of it that the header Range asks for; with the headers `named`."""
    etag = f'"{sha256}"'
    part = part_of(
        size,
        etag=etag,
        range_header=request.headers.get("range"),
        if_range=request.headers.get("if-range"),
    )
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Length": "0", **(named or {})}
    if part is None:
        headers["Content-Range"] = f"bytes */{size}"
        return Stream([], status_code=416, headers=headers)
    headers["Content-Length"] = str(part.end - part.start)
    if not part.whole:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    return Stream(
        blobs.read(sha256, part.start, part.end),
        status_code=200 if part.whole else 206,
        headers=headers,
        media_type=BYTES,
    )


def checked_sha256(sha256: str) -> str:
    """Raises InvalidInput unless it can be the name of a blob."""
    if not is_sha256(sha256):
        raise InvalidInput(f"cannot use blob «{sha256:.80}»: its name is no SHA-256")
    return sha256


def blob_routes() -> Router:
    """Every route about blobs that people use."""
    return Router("/", route_handlers=[blob_state, upload_blob])
