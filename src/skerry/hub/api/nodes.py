"""What nodes ask of the hub: enrolment, hello, push, pull, and the live link. See docs/reference/sync.md."""

from __future__ import annotations

from typing import Any

from litestar import Router, WebSocket, post, websocket
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from skerry.hub.api.auth import ANYONE, NODE, AuthenticatedRequest, Principal
from skerry.hub.api.bodies import WireBody
from skerry.hub.changes import Changes
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.heartbeat import HEARD
from skerry.hub.link import Links
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.kit.clock import Clock
from skerry.wire.sync import (
    Enrol,
    Enrolled,
    Hello,
    HelloReply,
    Pull,
    PullReply,
    PushReply,
    PushUnit,
)

GivenClock = SkipValidation[NamedDependency[Clock]]
"""A protocol cannot be checked at run time."""


@post("/enrol/v1", dto=WireBody[Enrol], return_dto=None, status_code=200, opt=ANYONE)
async def enrol(
    data: JSONBody[Enrol], nodes: NamedDependency[Nodes], changes: NamedDependency[Changes]
) -> Enrolled:
    """Makes a node of whoever shows a valid one-time token."""
    enrolled = await nodes.enrol(data)
    changes.announce()
    return enrolled


@post("/sync/v1/hello", dto=WireBody[Hello], return_dto=None, status_code=200, opt=NODE)
async def hello(
    request: AuthenticatedRequest,
    data: JSONBody[Hello],
    greeter: NamedDependency[Greeter],
    nodes: NamedDependency[Nodes],
    changes: NamedDependency[Changes],
    clock: GivenClock,
) -> HelloReply:
    """Agrees on the protocol and says what the hub holds of this node's history."""
    nodes.seen(request.user.id, clock.wall_ns())
    changes.announce()
    return await greeter.hello(request.user.id, data)


@post("/sync/v1/push", dto=WireBody[PushUnit], return_dto=None, status_code=200, opt=NODE)
async def push(
    request: AuthenticatedRequest,
    data: JSONBody[PushUnit],
    receiver: NamedDependency[Receiver],
    nodes: NamedDependency[Nodes],
    changes: NamedDependency[Changes],
    clock: GivenClock,
) -> PushReply:
    """Takes one unit of a lane; the answer comes after the hub's commit."""
    now = clock.wall_ns()
    nodes.seen(request.user.id, now)
    reply = await receiver.receive(request.user.id, data, now)
    changes.announce()
    return reply


@post("/sync/v1/pull", dto=WireBody[Pull], return_dto=None, status_code=200, opt=NODE)
async def pull(
    request: AuthenticatedRequest,
    data: JSONBody[Pull],
    feed: NamedDependency[Feed],
    nodes: NamedDependency[Nodes],
    clock: GivenClock,
) -> PullReply:
    """Gives the changes after the node's cursor."""
    nodes.seen(request.user.id, clock.wall_ns())
    return await feed.answer(request.user.id, data)


@websocket("/sync/v1/link", opt=NODE)
async def link(
    socket: WebSocket[Principal, Any, State],
    links: NamedDependency[Links],
    nodes: NamedDependency[Nodes],
    changes: NamedDependency[Changes],
    clock: GivenClock,
) -> None:
    """The live link (wire.link). A node's newer connection replaces its older one."""
    node_id = socket.user.id

    def heard() -> None:
        nodes.seen(node_id, clock.wall_ns())

    socket.scope["state"][HEARD] = heard
    await socket.accept()
    heard()
    changes.announce()
    await links.run(node_id, socket, heard)
    changes.announce()


def node_routes() -> Router:
    """Every route that nodes use."""
    return Router("/", route_handlers=[enrol, hello, push, pull, link])
