"""`GET /api/devices/{name}/diagnostics`: a device's diagnostics bundle, made now. See docs/operate/diagnostics.md."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from litestar import Router, get
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from skerry.hub.api.asked_by import asked_by
from skerry.hub.api.auth import CONFIGURE_ON, AuthenticatedRequest, find_node
from skerry.hub.bundles import Bundles
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.http_protocol import CUT
from skerry.hub.other_hub import FORWARDED
from skerry.kit.errors import SkerryError, Transient

log = logging.getLogger(__name__)

ZSTD = "application/zstd"

_NO_STORE = {"Cache-Control": "no-store"}


@get("/api/devices/{name:str}/diagnostics", opt=CONFIGURE_ON, media_type=ZSTD)
async def fetch_diagnostics(
    request: AuthenticatedRequest,
    name: FromPath[str],
    nodes: NamedDependency[Nodes],
    bundles: NamedDependency[Bundles],
) -> Stream:
    """A diagnostics bundle (tar in zstd) that the device makes now. The answer begins with its first bytes; when it is cut, it is not whole."""
    node_id = await find_node(request, nodes, name, f"make a bundle of «{name:.80}»")
    pieces = await bundles.open(
        node_id, name, by=asked_by(request), forwarded=FORWARDED in request.headers
    )
    async with contextlib.AsyncExitStack() as unless_begun:
        unless_begun.push_async_callback(pieces.close)
        coming = aiter(pieces)
        first = await anext(coming, None)
        if first is None:
            raise Transient(f"cannot make a bundle of «{name:.80}»: the node sent nothing")
        unless_begun.pop_all()
    cut: Callable[[], None] = request.scope["state"][CUT]
    body = _to_the_end(first, coming, cut)
    # Runs at the end in any case; a generator's own clean-up would wait for the garbage collector.
    return Stream(body, media_type=ZSTD, headers=_NO_STORE, background=BackgroundTask(pieces.close))


async def _to_the_end(
    first: bytes, coming: AsyncIterator[bytes], cut: Callable[[], None]
) -> AsyncIterator[bytes]:
    """The bytes; a connection that is cut tells that they are not whole, for the status line has long been sent."""
    yield first
    try:
        async for data in coming:
            yield data
    except SkerryError as error:
        log.warning("a diagnostics bundle is not whole: %s", error)
        cut()


def bundle_routes() -> Router:
    """The routes of bundles."""
    return Router("/", route_handlers=[fetch_diagnostics])
