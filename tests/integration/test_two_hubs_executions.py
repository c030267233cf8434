"""Commands in workloads at two hubs on one PostgreSQL: asked for at one, carried by the other, which has the node's link."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from tests.postgres import Postgres
from tests.tunnel_rig import linked, links
from tests.web_sockets import next_frame

from skerry.node.channel_port import ServedChannel
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.testing.waiting import eventually
from skerry.wire.codec import decode, encode
from skerry.wire.executions import STDERR, STDIN, Wish
from skerry.wire.link import Bytes, Opened, from_frame, from_text, to_frame

pytestmark = [pytest.mark.postgres, pytest.mark.guarantee("G9")]


async def test_a_command_goes_through_the_hub_that_holds_the_link(
    postgres: Postgres, tmp_path: Path
) -> None:
    """The node is told who has asked, not which hub process has passed it on."""
    with postgres.database() as url:
        async with (
            running_hub(tmp_path, database=url) as first,
            running_hub(tmp_path, database=url) as second,
            aiohttp.ClientSession(second.address) as other,
        ):
            await check(url, first, other)


async def check(url: str, first: RunningHub, other: aiohttp.ClientSession) -> None:
    node = await first.enrol("a")
    told: list[str] = []

    async def serve(channel: ServedChannel) -> None:
        told.append(channel.arguments["wish"])
        await channel.accept()
        taken = await channel.receive()
        assert taken is not None
        await channel.send(taken[0], STDERR)

    bob = await first.access_token("bob", "operator")
    path = "/api/v1/nodes/a/exec/w"
    async with linked(first, node, services={"exec": lambda: serve}):
        await eventually(lambda: links(url) == 1, "the link is known")
        async with other.ws_connect(path, headers=bob) as socket:
            await socket.send_str(encode(Wish(["sh"], by="ann", writes=True)).decode())
            assert from_text((await next_frame(socket)).data) == Opened(0)
            await socket.send_bytes(to_frame(Bytes(0, b"hello", STDIN)))
            assert from_frame((await next_frame(socket)).data) == Bytes(0, b"hello", STDERR)
    wish = decode(told[0].encode(), Wish, "wish")
    assert (wish.command, wish.by, wish.writes) == (["sh"], "bob", False)
