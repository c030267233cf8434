"""The connection by which a keeper sees to the end of a container's command."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from skerry.node.workloads.runtimes.containers.engine import Engine
from skerry.node.workloads.runtimes.containers.execution import begin
from skerry.wire.executions import Wish


async def test_it_closes_with_who_is_cancelled_while_the_keeper_does_not_answer(
    short_dir: Path,
) -> None:
    loop = asyncio.get_running_loop()
    path = short_dir / "keeper"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
        keeper.setblocking(False)
        keeper.bind(str(path))
        keeper.listen()
        beginning = asyncio.ensure_future(
            begin(Engine([short_dir / "engine"]), "c", Wish(["ls"]), "w", path)
        )
        connection, _ = await loop.sock_accept(keeper)
        with connection:
            assert b"tie" in await loop.sock_recv(connection, 65536)
            beginning.cancel()
            await asyncio.wait([beginning])
            async with asyncio.timeout(30):
                assert await loop.sock_recv(connection, 65536) == b""
