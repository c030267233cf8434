"""How many HTTP requests pass: on the way to a hub, and to a container engine's socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from skerry.testing.chaos_proxy import ChaosProxy, Direction

_REQUEST = re.compile(rb"(?:^|\r\n|\n|\})(?:GET|HEAD|POST|PUT|PATCH|DELETE) \S+ HTTP/1\.1\r\n")
"""Behind whatever body came before it on the connection."""


class CountedRequests(ChaosProxy):
    """Plain HTTP to a hub."""

    requests = 0

    async def _forward(
        self, data: bytes, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        if direction == "up":
            self.requests += len(_REQUEST.findall(data))
        await super()._forward(data, writer, direction)


class CountedSocket:
    """What was asked at a socket so far."""

    requests = 0


@contextlib.asynccontextmanager
async def counted_socket(target: Path, path: Path) -> AsyncIterator[CountedSocket]:
    """`path` leads to the socket `target`."""
    counted = CountedSocket()
    serving: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if up:
                    counted.requests += len(_REQUEST.findall(data))
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            serving.add(task)
            task.add_done_callback(serving.discard)
        there, onward = await asyncio.open_unix_connection(str(target))
        try:
            await asyncio.gather(pump(reader, onward, up=True), pump(there, writer, up=False))
        finally:
            for end in (writer, onward):
                end.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield counted
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
