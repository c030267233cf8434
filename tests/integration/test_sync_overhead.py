"""What a push costs besides its values: the heads of request and answer, byte by byte on a raw socket."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from tests.hub_rig import Lanes, batch, status

from skerry.node.sync.connections import open_session
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.sync import Hello, Pull, StateFrame


@dataclass
class Wire:
    """A node's calls, and the bytes that passed between it and the hub."""

    hub: RunningHub
    uplink: HttpUplink
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)

    def heads(self) -> tuple[bytes, bytes]:
        """The first heads since the last call, of the request and of its answer."""
        found = [
            bytes(each).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for each in (self.up, self.down)
        ]
        self.up.clear()
        self.down.clear()
        return found[0], found[1]


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with running_hub(tmp_path) as hub, open_session() as session:
        host, _, port = hub.address.removeprefix("http://").partition(":")

        async def pump(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
        ) -> None:
            while data := await reader.read(65536):
                seen += data
                writer.write(data)
            writer.close()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            from_hub, to_hub = await asyncio.open_connection(host, int(port))
            await asyncio.gather(pump(reader, to_hub, found.up), pump(from_hub, writer, found.down))

        async with await asyncio.start_server(forward, "127.0.0.1", 0) as way:
            address = f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}"
            node = await hub.enrol("a")
            found = Wire(hub, HttpUplink(session, address, node.node_id, node.secret))
            yield found
            await session.close()


def names(head: bytes) -> set[str]:
    return {line.partition(b":")[0].decode().lower() for line in head.splitlines()[1:] if line}


async def test_a_push_carries_nothing_that_nobody_reads(wire: Wire) -> None:
    values = batch(*(21.5 + n for n in range(12)))
    assert (await wire.uplink.push(Lanes().unit("keep", [values]))).outcome == "ok"
    request, answer = wire.heads()
    assert names(request) == {"host", "authorization", "content-encoding", "content-length"}
    assert names(answer) == {"content-type", "content-length"}
    assert len(request) <= 200
    assert len(answer) <= 90


async def test_large_answers_may_be_compressed(wire: Wire) -> None:
    frame = StateFrame([status(f"workload-{n}") for n in range(100)])
    reply = await wire.uplink.push(Lanes().unit("state", [frame]))
    assert len(reply.rows) == 100
    request, answer = wire.heads()
    assert "accept-encoding" in names(request)
    assert "content-encoding" in names(answer)
    await wire.uplink.pull(Pull(None, ""))
    assert "accept-encoding" in names(wire.heads()[0])


async def test_an_error_is_as_short(wire: Wire) -> None:
    with pytest.raises(Exception, match="protocol"):
        await wire.uplink.hello(Hello((7, 9), "1" * 32, "9", "boot-1"))
    assert names(wire.heads()[1]) == {"content-type", "content-length"}


async def test_people_and_browsers_are_told_more(wire: Wire) -> None:
    async with aiohttp.ClientSession(wire.hub.address) as client:
        for path in ("/", "/login", "/api/v1/nodes", "/static/page.css"):
            async with client.get(path, headers=wire.hub.person) as answer:
                found = {name.lower() for name in answer.headers}
            expected = {
                "date",
                "content-security-policy",
                "x-content-type-options",
                "referrer-policy",
            }
            assert expected <= found, path
