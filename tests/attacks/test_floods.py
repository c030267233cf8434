"""Ten gigabytes as a body, announced, sent without end, or packed into a megabyte: at the door of people and of nodes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import zstandard
from tests.installation import Hub

from skerry.testing.running_hub import CertifiedNode, RunningHub
from skerry.wire.codec import MAX_BODY

pytestmark = [pytest.mark.timeout(120), pytest.mark.guarantee("G4")]

GIB = 1 << 30
MOST_GROWTH = 100 * 1_000_000
"""Bytes of memory that the hub may have more after all of it: a few bodies that may be taken."""


@functools.cache
def bomb() -> bytes:
    """10 GiB of zeros as zstd, which says its size."""
    packing = zstandard.ZstdCompressor(level=1).compressobj(size=10 * GIB)
    zeros = bytes(64 << 20)
    pieces = [packing.compress(zeros) for _ in range(10 * GIB // len(zeros))]
    return b"".join([*pieces, packing.flush()])


async def without_end() -> AsyncIterator[bytes]:
    piece = bytes(1 << 20)
    for _ in range(10 * GIB // len(piece)):
        yield piece


async def announced(port: int, path: str, token: str) -> bytes:
    """The first line of the answer to a request whose body is announced as 10 GiB and never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {10 * GIB}\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        line = await reader.readline()
    writer.close()
    return line


async def flooded(session: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> set[int]:
    """What the two floods were answered; 0: the hub hung up."""
    statuses = set()
    for body, more in ((without_end(), {}), (bomb(), {"Content-Encoding": "zstd"})):
        try:
            async with session.post(path, data=body, headers=headers | more) as answer:
                statuses.add(answer.status)
        except aiohttp.ClientConnectionError:
            statuses.add(0)
    return statuses


def resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096


async def test_ten_gigabytes_change_nothing(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    await hub.start()
    try:
        token = (hub.directory / "admin.token").read_text().strip()
        known = RunningHub(hub.url, token, hub.nodes_url)
        node: CertifiedNode = await known.certify("n1")
        assert hub.process.process is not None
        pid = hub.process.process.pid
        before = resident(pid)
        async with node.session(known) as session:
            assert await flooded(session, "/sync/v1/push", {}) <= {0, 400, 413}
        async with aiohttp.ClientSession(hub.url) as session:
            assert await flooded(session, "/api/v1/tokens", known.person) <= {0, 400, 413}
            assert await flooded(session, "/api/v1/sign-in", {}) <= {0, 400, 413}
        line = await announced(hub.port, "/api/v1/tokens", token)
        assert line.split()[1] in {b"413", b"408"}, line
        assert resident(pid) - before < MOST_GROWTH + MAX_BODY
        assert await hub.answers()
    finally:
        await hub.kill()
