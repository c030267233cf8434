"""What nodes ask of the hub: enrolment, hello, push, pull, and the live link. See docs/reference/sync.md."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from litestar import Router, WebSocket, get, post, websocket
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, SkipValidation

from skerry.hub.api.auth import (
    ANYONE,
    NODE,
    NODE_OR_RETIRED,
    AuthenticatedRequest,
    Connection,
    Principal,
)
from skerry.hub.api.blobs import download_blob
from skerry.hub.api.bodies import WireBody
from skerry.hub.api.devices import take_erasure
from skerry.hub.api.files import file_state, held_files, offer_file, send_file
from skerry.hub.api.node_logs import push_audit
from skerry.hub.api.ssh import tell_ssh_trust
from skerry.hub.changes import Changes
from skerry.hub.enrolling import Enrolling
from skerry.hub.fleet.agents import Agent
from skerry.hub.fleet.models import Models
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.heartbeat import HEARD
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.sync.frames import check_id
from skerry.hub.sync.hello import Greeter
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.push import Receiver
from skerry.hub.sync.rounds import Rounds
from skerry.hub.sync.rows_pull import RowFeed
from skerry.kit.clock import Clock
from skerry.kit.errors import Transient
from skerry.kit.one_line import one_line
from skerry.wire.link import RUN_HEADER
from skerry.wire.models import NamedModels
from skerry.wire.shared import (
    Buckets,
    BucketsReply,
    Round,
    RoundReply,
    RowsPage,
    RowsPart,
    RowsPull,
    RowsWanted,
)
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

_MAX_HOST = 64

GivenClock = SkipValidation[NamedDependency[Clock]]
"""A protocol cannot be checked at run time."""


@post("/enrol/v1", dto=WireBody[Enrol], return_dto=None, status_code=200, opt=ANYONE)
async def enrol(
    request: AuthenticatedRequest,
    data: JSONBody[Enrol],
    enrolling: NamedDependency[Enrolling],
    peers: NamedDependency[Peers],
    changes: NamedDependency[Changes],
) -> Enrolled:
    """Makes a node of whoever shows a valid one-time token, and says where else this fleet has hubs."""
    enrolled = await enrolling.enrol(data, request.client.host if request.client else "")
    changes.announce()
    return msgspec.structs.replace(enrolled, hubs=await peers.addresses())


@post("/sync/v1/hello", dto=WireBody[Hello], return_dto=None, status_code=200, opt=NODE_OR_RETIRED)
async def hello(  # noqa: PLR0913 - all that takes part
    *,
    request: AuthenticatedRequest,
    data: JSONBody[Hello],
    greeter: NamedDependency[Greeter],
    enrolling: NamedDependency[Enrolling],
    nodes: NamedDependency[Nodes],
    peers: NamedDependency[Peers],
    changes: NamedDependency[Changes],
    clock: GivenClock,
) -> HelloReply:
    """Agrees on the protocol and says what the hub holds of this node's history."""
    node_id = request.user.id
    nodes.seen(node_id, clock.wall_ns(), _agent(request, data.run, data.host))
    changes.announce()
    reply = await greeter.hello(node_id, data)
    await nodes.introduced(node_id, data.fingerprint)
    reply = await enrolling.greeted(node_id, data, reply)
    double = nodes.double_of(node_id, data.run)
    return msgspec.structs.replace(reply, double=double, hubs=peers.told)


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


@post("/sync/v1/rows/pull", dto=WireBody[RowsPull], return_dto=None, status_code=200, opt=NODE)
async def pull_rows(
    request: AuthenticatedRequest,
    data: JSONBody[RowsPull],
    row_feed: NamedDependency[RowFeed],
    nodes: NamedDependency[Nodes],
    clock: GivenClock,
) -> RowsPage:
    """Gives the changes of shared rows after the node's cursors."""
    nodes.seen(request.user.id, clock.wall_ns())
    return await row_feed.answer(request.user.id, data)


@post("/sync/v1/round", dto=WireBody[Round], return_dto=None, status_code=200, opt=NODE)
async def ask_round(
    request: AuthenticatedRequest,
    data: JSONBody[Round],
    rounds: NamedDependency[Rounds],
    nodes: NamedDependency[Nodes],
    clock: GivenClock,
) -> RoundReply:
    """Gives the changes after the node's cursors of both kinds: what it asks when it has no idea whether there are any."""
    nodes.seen(request.user.id, clock.wall_ns())
    return await rounds.answer(request.user.id, data)


@post("/sync/v1/rows/buckets", dto=WireBody[Buckets], return_dto=None, status_code=200, opt=NODE)
async def compare_buckets(
    data: JSONBody[Buckets], row_feed: NamedDependency[RowFeed]
) -> BucketsReply:
    """Says what the hub has in those buckets of an entity in which the node has something else."""
    return await row_feed.buckets(data)


@post("/sync/v1/rows/wanted", dto=WireBody[RowsWanted], return_dto=None, status_code=200, opt=NODE)
async def wanted_rows(data: JSONBody[RowsWanted], row_feed: NamedDependency[RowFeed]) -> RowsPart:
    """Gives whole rows by their ids."""
    return await row_feed.wanted(data)


@get("/sync/v1/models", opt=NODE)
async def named_models(
    request: AuthenticatedRequest,
    models: NamedDependency[Models],
    nodes: NamedDependency[Nodes],
    clock: GivenClock,
    name: FromQuery[list[str]],
) -> NamedModels:
    """The models that scripts of a node name, and those names that the hub does not have."""
    nodes.seen(request.user.id, clock.wall_ns())
    return await models.named(name)


@websocket("/sync/v1/link", opt=NODE)
async def link(
    socket: WebSocket[Principal, Any, State],
    links: NamedDependency[Links],
    nodes: NamedDependency[Nodes],
    peers: NamedDependency[Peers],
    changes: NamedDependency[Changes],
    clock: GivenClock,
) -> None:
    """The live link (wire.link). A node's newer connection replaces its older one."""
    node_id = socket.user.id
    agent = _agent(socket, socket.headers.get(RUN_HEADER, ""))

    def heard() -> None:
        nodes.seen(node_id, clock.wall_ns(), agent)

    socket.scope["state"][HEARD] = heard
    await socket.accept()
    heard()
    changes.announce()
    # Beside it, not before: news that come between accepting and serving would be lost.
    turn = asyncio.ensure_future(peers.linked(node_id, agent))
    try:
        await links.run(node_id, socket, agent, heard, turn)
    finally:
        changes.announce()
        # Without a database the other hubs learn nothing; the node's next hello fails then, and it comes again.
        with contextlib.suppress(Transient):
            await turn
            if not links.connected(node_id):
                await peers.unlinked(node_id)


def _agent(connection: Connection, run: str, host: str = "") -> Agent | None:
    """Who speaks, by what it says about itself and where it comes from; None when it does not name its run."""
    if not run:
        return None
    check_id(run, "run")
    address = connection.client.host if connection.client else "an unknown address"
    return Agent(run, f"{one_line(host[:_MAX_HOST])} ({address})" if host else address)


def node_routes() -> Router:
    """Every route that nodes use."""
    return Router(
        "/",
        route_handlers=[
            enrol,
            take_erasure,
            hello,
            push,
            pull,
            pull_rows,
            ask_round,
            compare_buckets,
            wanted_rows,
            named_models,
            push_audit,
            tell_ssh_trust,
            link,
            download_blob,
            offer_file,
            held_files,
            file_state,
            send_file,
        ],
    )
