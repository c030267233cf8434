"""Commands in a workload that was launched by hand, asked for as a person's program does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from tests.http_client import Client
from tests.web_sockets import ALL_OF_IT, next_frame

from skerry.kit.errors import Refused
from skerry.node.execution_port import Execution
from skerry.testing.exits import Exits
from skerry.testing.process_device import ProcessDevice
from skerry.wire.codec import decode, encode
from skerry.wire.executions import ENDED, STDERR, STDOUT, Ending, Wish
from skerry.wire.link import Bytes, Close, End, Opened, from_frame, from_text


class OneWorkload:
    """Implements `execution_port.Executing` for a workload that was launched by hand."""

    def __init__(self, device: ProcessDevice) -> None:
        self.device = device
        self.runtime = device.agent()
        self.launch = device.launch("sleep", "1000")
        self.wishes: list[Wish] = []

    async def start(self) -> None:
        await self.runtime.connect(Exits())
        await self.runtime.start(self.launch)

    async def begin(self, workload: str, wish: Wish) -> Execution:
        if workload != "w":
            raise Refused(f"there is no «{workload}» here")
        self.wishes.append(wish)
        return await self.runtime.execute_in(self.launch, wish)


@contextlib.asynccontextmanager
async def launched(directory: Path) -> AsyncIterator[OneWorkload]:
    """A workload «w» that waits; at the end nothing of it is left."""
    device = ProcessDevice(directory)
    one = OneWorkload(device)
    await one.start()
    yield one
    await device.end()


class Person:
    """The person's end of a command."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.streams: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self.ending: Ending | None = None
        self.words: str | None = None

    async def hear(self) -> None:
        frame = await next_frame(self.socket)
        is_binary = frame.type is aiohttp.WSMsgType.BINARY
        message = from_frame(frame.data) if is_binary else from_text(frame.data)
        match message:
            case Bytes(data=data, stream=stream) if stream == ENDED:
                self.ending = decode(data, Ending, "ending")
            case Bytes(data=data, stream=stream):
                self.streams[stream] += data
            case Close(_, words):
                self.words = words
            case _:
                assert isinstance(message, Opened | End)

    async def until(self, words: bytes) -> None:
        async with asyncio.timeout(ALL_OF_IT):
            while words not in self.streams[STDOUT]:
                assert self.words is None, self.words
                await self.hear()

    async def rest(self) -> None:
        """Until it is closed."""
        async with asyncio.timeout(ALL_OF_IT):
            while self.words is None:
                await self.hear()


@contextlib.asynccontextmanager
async def asked(
    client: Client, headers: dict[str, str], wish: Wish, workload: str = "w"
) -> AsyncIterator[Person]:
    path = f"/api/v1/nodes/a/exec/{workload}"
    async with client.ws_connect(path, headers=headers, max_msg_size=2**20) as socket:
        await socket.send_str(encode(wish).decode())
        yield Person(socket)


def shell(script: str, *, stdin: bool = False) -> Wish:
    return Wish(["/bin/sh", "-c", script], stdin)
