"""A node's live link to a real hub, services on its loopback, and a person at the other end of a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import aiohttp
import psycopg
from msgspec.structs import replace
from tests.sync_rig import Logs
from tests.web_sockets import ALL_OF_IT, next_frame

from skerry.core.audit_entries import Deed
from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.tasks import supervised
from skerry.node.access.tunnel import Tunnels
from skerry.node.channel_port import ChannelService
from skerry.node.sync.live_link import Bells, LiveLink
from skerry.node.sync.reachability import Reachability
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.testing.waiting import eventually
from skerry.wire.link import Bytes, Close, End, Opened, from_frame, from_text, to_frame, to_text

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class NoFacts:
    """Nothing is kept."""

    async def fact(self, name: str) -> str | None:  # noqa: ARG002
        return None

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None: ...


class Entered:
    """What would stand in the node's audit log: outcomes with their status, refusals as those."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []

    async def begun(self, deed: Deed) -> int:
        self.deeds.append(deed)
        return len(self.deeds)

    async def ended(self, deed: Deed, of: int, status: int) -> None:
        self.deeds.append(replace(deed, of=of, status=status))

    async def refused(self, deed: Deed, status: int) -> None:
        self.deeds.append(replace(deed, outcome="refused", status=status))


def links(url: str) -> int:
    """How many live links the hubs on one PostgreSQL know of; a hub tells the others of one just after its node has it."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM live_link").fetchone()
    return found[0]


@contextlib.asynccontextmanager
async def linked(
    hub: RunningHub,
    node: EnrolledNode,
    ports: Iterable[int] = (),
    *,
    services: Mapping[str, Callable[[], ChannelService]] | None = None,
    held: Callable[[], str] = lambda: "",
    logs: Logs | None = None,
    entered: Entered | None = None,
) -> AsyncIterator[tuple[Bells, Logs]]:
    """The node's side of the link, open; `ports` are those that its settings allow."""
    clock, logs, bells = SystemClock(), logs or Logs(), Bells(Bell(), Bell(), Bell())
    tunnels = Tunnels(lambda: set(ports), held, entered or Entered())
    async with aiohttp.ClientSession() as session:
        uplink = HttpUplink(session, hub.address, node.node_id, node.secret)
        reachability = Reachability(NoFacts(), clock, lambda: hub.address)
        link = LiveLink(
            uplink, logs, reachability, clock, random.Random(1), bells,
            run="run-1", services={"tunnel": lambda: tunnels.serve} if services is None else services,
        )  # fmt: skip
        async with supervised() as tasks:
            _ = tasks.start(link.keep(), name="link")
            await eventually(lambda: reachability.status.state == "online", "the link is open")
            yield bells, logs


@contextlib.asynccontextmanager
async def serving(served: Served) -> AsyncIterator[int]:
    """A service on a free port of 127.0.0.1."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await served(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and «over» when nothing more does."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"over")


class Person:
    """The person's end of a tunnel."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.words: str | None = None

    async def message(self) -> Opened | Bytes | End | Close:
        frame = await next_frame(self.socket)
        if frame.type is aiohttp.WSMsgType.BINARY:
            return from_frame(frame.data)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        message = from_text(frame.data)
        assert isinstance(message, Opened | End | Close)
        return message

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), 32768):
            await self.socket.send_bytes(to_frame(Bytes(0, data[start : start + 32768])))

    async def end(self) -> None:
        await self.socket.send_str(to_text(End(0)))

    async def read(self, size: int) -> bytes:
        found = b""
        async with asyncio.timeout(ALL_OF_IT):
            while len(found) < size:
                message = await self.message()
                assert isinstance(message, Bytes), message
                found += message.data
        return found

    async def rest(self) -> bytes:
        """What comes until the tunnel is closed; then `words` says why."""
        found = b""
        async with asyncio.timeout(ALL_OF_IT):
            while self.words is None:
                match await self.message():
                    case Bytes(data=data):
                        found += data
                    case Close(_, words):
                        self.words = words
        return found


@contextlib.asynccontextmanager
async def tunnel(
    client: aiohttp.ClientSession, headers: dict[str, str], port: int, node: str = "a"
) -> AsyncIterator[Person]:
    path = f"/api/v1/nodes/{node}/tunnel/{port}"
    async with client.ws_connect(path, headers=headers, max_msg_size=2**20) as socket:
        yield Person(socket)


@contextlib.asynccontextmanager
async def opened(
    client: aiohttp.ClientSession, headers: dict[str, str], port: int, node: str = "a"
) -> AsyncIterator[Person]:
    """As `tunnel`, once the node serves it."""
    async with tunnel(client, headers, port, node) as person:
        assert await person.message() == Opened(0)
        yield person
