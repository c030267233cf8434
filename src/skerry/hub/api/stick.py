"""What was carried to the hub by hand, over HTTP: one block of a file at a time. See docs/operate/without-a-network.md."""

from __future__ import annotations

from litestar import Router, put
from litestar.di import NamedDependency
from litestar.params import FromQuery

from skerry.hub.api.auth import WRITE, AuthenticatedRequest
from skerry.hub.changes import Changes
from skerry.hub.sync.carrying import Carrying
from skerry.wire.stick import BlockTaken


@put("/api/v1/stick", opt=WRITE)
async def take_block(
    request: AuthenticatedRequest,
    carrying: NamedDependency[Carrying],
    changes: NamedDependency[Changes],
    number: FromQuery[int],
) -> BlockTaken:
    """Takes block `number` of a file that a node has exported; the answer comes after the hub's commit."""
    taken = await carrying.take(await request.body(), number)
    changes.announce()
    return taken


def stick_routes() -> Router:
    """Every route about sticks."""
    return Router("/", route_handlers=[take_block])
