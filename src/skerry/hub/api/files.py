"""Files over HTTP: nodes bring them piece by piece, people list and download them. See docs/reference/files.md."""

from __future__ import annotations

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidation
from litestar.response import Stream

from skerry.hub.api.auth import NODE, READ_ON, AuthenticatedRequest, hold
from skerry.hub.api.blobs import BYTES, by_range, checked_sha256
from skerry.hub.api.bodies import WireBody
from skerry.hub.api.moments import moment
from skerry.hub.changes import Changes
from skerry.hub.files.arrivals import WINDOW, Arrivals
from skerry.hub.files.shelf import Shelf, Wanted
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.ports import Blobs
from skerry.kit.errors import NotFound, TooLarge
from skerry.wire.files import FileList, FileManifest, FilesHeld, FileState

GivenBlobs = SkipValidation[NamedDependency[Blobs]]
"""A protocol cannot be checked at run time."""


@post("/sync/v1/files", dto=WireBody[FileManifest], return_dto=None, status_code=200, opt=NODE)
async def offer_file(
    request: AuthenticatedRequest,
    data: JSONBody[FileManifest],
    arrivals: NamedDependency[Arrivals],
) -> FileState:
    """Says what a file consists of; the answer says which bytes the hub wants next."""
    return await arrivals.offer(request.user.id, data)


@post("/sync/v1/files/held", dto=WireBody[FilesHeld], return_dto=None, status_code=200, opt=NODE)
async def held_files(
    request: AuthenticatedRequest, data: JSONBody[FilesHeld], arrivals: NamedDependency[Arrivals]
) -> FilesHeld:
    """Which of a node's own files the hub has whole."""
    return FilesHeld(await arrivals.held(request.user.id, data.files))


@get("/sync/v1/files/{sha256:str}", opt=NODE)
async def file_state(
    request: AuthenticatedRequest, sha256: FromPath[str], arrivals: NamedDependency[Arrivals]
) -> FileState:
    """Which bytes of a file the hub wants next."""
    return await arrivals.state(request.user.id, checked_sha256(sha256))


@post("/sync/v1/files/{sha256:str}", status_code=200, opt=NODE)
async def send_file(
    request: AuthenticatedRequest,
    sha256: FromPath[str],
    arrivals: NamedDependency[Arrivals],
    changes: NamedDependency[Changes],
    start: FromQuery[int],
) -> FileState:
    """Takes bytes from `start` on, as the request's body. What comes before a cut is kept."""
    arrivals.coming += 1
    try:
        data = await _body(request)
    finally:
        arrivals.coming -= 1
    state = await arrivals.take(request.user.id, checked_sha256(sha256), start, data)
    if state.complete:
        changes.announce()
    return state


@get("/api/v1/files", opt=READ_ON)
async def list_files(  # noqa: PLR0913 - one argument for each query parameter
    *,
    request: AuthenticatedRequest,
    nodes: NamedDependency[Nodes],
    shelf: NamedDependency[Shelf],
    name: FromQuery[str] = "*",
    node: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    sha256: FromQuery[str | None] = None,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    limit: FromQuery[int] = 100,
) -> FileList:
    """The newest matching files, oldest first. `*` in a name matches anything; `sha256` may be its beginning."""
    seen = (await nodes.sight(request.user.role)).ids
    wanted = Wanted(name, node, source, sha256, moment(since), moment(until), seen)
    return await shelf.list(wanted, limit)


@get("/api/v1/files/{sha256:str}/content", opt=READ_ON, media_type=BYTES)
async def download_file(
    request: AuthenticatedRequest,
    sha256: FromPath[str],
    nodes: NamedDependency[Nodes],
    shelf: NamedDependency[Shelf],
    file_blobs: GivenBlobs,
) -> Stream:
    """A file, or the part of it that the header Range asks for."""
    seen = (await nodes.sight(request.user.role)).ids
    hold(request, seen)
    view = await shelf.content(checked_sha256(sha256), seen)
    size = await file_blobs.size(sha256)
    if size != view.size:  # missing, or cut
        raise NotFound(f"cannot send file «{view.name}»: the hub has lost its bytes")
    # A record's name has nothing that would end the quotation.
    named = {"Content-Disposition": f'attachment; filename="{view.name.rpartition("/")[2]}"'}
    return by_range(request, file_blobs, sha256, size, named)


async def _body(request: AuthenticatedRequest) -> bytes:
    """What came of the body: all of it, or what came before the connection was cut."""
    data = bytearray()
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > WINDOW:
                raise TooLarge(f"cannot take more than {WINDOW} bytes of a file at a time")
    except InternalServerException:  # Litestar's word for a client that has gone
        pass
    return bytes(data)


def file_routes() -> Router:
    """Every route about files that people use."""
    return Router("/", route_handlers=[list_files, download_file])
