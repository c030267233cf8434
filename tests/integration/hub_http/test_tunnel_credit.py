"""A tunnel's credit at the hub, against a node that is only a socket: what it has no room for waits with the person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.http_client import Client
from tests.tunnel_rig import tunnel
from tests.web_sockets import next_frame

from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.wire.codec import encode
from skerry.wire.link import (
    LARGEST,
    WINDOW,
    Bytes,
    Credit,
    Message,
    News,
    Open,
    Opened,
    from_frame,
    from_text,
    to_frame,
    to_text,
)
from skerry.wire.people import Apply
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

pytestmark = pytest.mark.guarantee("G4")

MUCH = 20 * WINDOW
ENDLESS = 64 * 1024 * 1024
"""More than lies in all buffers on the way."""

_WHILE = 2.0


class Node:
    """The node's end of the link."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def next(self) -> Message:
        frame = await next_frame(self._socket)
        if frame.type is aiohttp.WSMsgType.BINARY:
            return from_frame(frame.data)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return from_text(frame.data)

    async def opened(self) -> int:
        """The number of the channel that the hub opens."""
        message = await self.next()
        assert isinstance(message, Open)
        await self.say(Opened(message.channel))
        return message.channel

    async def say(self, message: Opened | Credit) -> None:
        await self._socket.send_str(to_text(message))

    async def send(self, channel: int, size: int) -> None:
        await self._socket.send_bytes(to_frame(Bytes(channel, bytes(size))))

    async def takes(self, size: int) -> None:
        """So many bytes come next."""
        while size > 0:
            message = await self.next()
            assert isinstance(message, Bytes), message
            size -= len(message.data)
        assert size == 0

    async def granted(self) -> int:
        """Credit; 0 when there is none for a while."""
        try:
            async with asyncio.timeout(_WHILE):
                message = await self.next()
        except TimeoutError:
            return 0
        assert isinstance(message, Credit), message
        return message.size

    async def until_news(self) -> int:
        """Bytes that come before the next news."""
        size = 0
        while not isinstance(message := await self.next(), News):
            assert isinstance(message, Bytes), message
            size += len(message.data)
        return size


@pytest.fixture
async def node(hub: RunningHub, client: Client) -> AsyncIterator[Node]:
    enrolled: EnrolledNode = await hub.enrol("a")
    async with client.ws_connect("/sync/v1/link", headers=hub.node(enrolled)) as socket:
        yield Node(socket)


async def tell_news(client: Client, hub: RunningHub, name: str) -> None:
    spec = WorkloadSpec(name=name, process=ProcessSpec(command=["true"]), on=Selector(node="a"))
    async with client.put(
        "/api/v1/workloads", data=encode(Apply([spec])), headers=hub.person
    ) as response:
        assert response.status == 200, await response.text()


async def test_the_hub_sends_a_node_what_it_has_credit_for_and_no_more(
    hub: RunningHub, client: Client, node: Node
) -> None:
    async with tunnel(client, hub.person, 22) as person, asyncio.TaskGroup() as group:
        channel = await node.opened()
        assert await person.message() == Opened(0)
        _ = group.create_task(person.send(bytes(MUCH)))
        await node.takes(WINDOW)
        await tell_news(client, hub, "v")
        assert await node.until_news() == 0
        await node.say(Credit(channel, LARGEST))
        await node.takes(LARGEST)
        await tell_news(client, hub, "w")
        assert await node.until_news() == 0
        await node.say(Credit(channel, MUCH))
        await node.takes(MUCH - WINDOW - LARGEST)


async def test_a_person_who_reads_late_holds_the_node_up(
    hub: RunningHub, client: Client, node: Node
) -> None:
    """The hub grants what the person's connection has taken, and holds no more than a window itself."""
    async with tunnel(client, hub.person, 22) as person:
        channel = await node.opened()
        assert await person.message() == Opened(0)
        sent, credit = 0, WINDOW
        while credit >= LARGEST and sent < ENDLESS:
            await node.send(channel, LARGEST)
            sent, credit = sent + LARGEST, credit - LARGEST
            while credit < LARGEST and (granted := await node.granted()):
                credit += granted
        assert sent < ENDLESS
        assert await person.read(sent) == bytes(sent)
