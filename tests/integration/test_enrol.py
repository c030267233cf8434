"""Becoming a node, at the real hub and at what is none."""

import asyncio
import stat
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.node.identity import SECRET_FILE, Identity, read_identity, read_secret
from skerry.node.sync.connections import open_session
from skerry.node.sync.enrol import PENDING_FILE, enrol
from skerry.node.sync.uplink import HttpUplink
from skerry.testing.faulty_disk import FaultyDisk
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.codec import decode, encode
from skerry.wire.people import TokenReply, TokenRequest
from skerry.wire.sync import Enrol, Hello


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    path.mkdir()
    return path


async def request(hub: RunningHub, name: str = "gate") -> Enrol:
    async with (
        aiohttp.ClientSession(hub.address) as session,
        session.post("/api/v1/tokens", data=encode(TokenRequest()), headers=hub.person) as answer,
    ):
        token = decode(await answer.read(), TokenReply, "token").token
    return Enrol(token, name, {"site": "lab"}, "0.1", "")


async def test_an_enrolled_node_is_known_to_the_hub_and_knows_itself(
    hub: RunningHub, session: aiohttp.ClientSession, data_dir: Path
) -> None:
    asked = await request(hub)
    identity = await enrol(session, hub.address + "/", asked, data_dir, RealDisk())
    assert identity == read_identity(data_dir)
    assert identity == Identity(
        identity.node_id, "gate", {"site": "lab"}, hub.address, identity.hub_id
    )
    assert stat.S_IMODE((data_dir / SECRET_FILE).stat().st_mode) == 0o600
    uplink = HttpUplink(
        session, identity.hub_url, identity.node_id, read_secret(data_dir, NullCipher())
    )
    reply = await uplink.hello(Hello((1, 1), "1" * 32, "0.1", "boot"))
    assert reply.hub_id == identity.hub_id


async def test_it_is_enrolled_once(
    hub: RunningHub, session: aiohttp.ClientSession, data_dir: Path
) -> None:
    await enrol(session, hub.address, await request(hub), data_dir, RealDisk())
    with pytest.raises(Refused, match="this node is «gate» of hub .* already"):
        await enrol(session, hub.address, await request(hub, "other"), data_dir, RealDisk())


async def test_a_used_token_and_a_taken_name_are_refused_in_the_hubs_words(
    hub: RunningHub, session: aiohttp.ClientSession, data_dir: Path, tmp_path: Path
) -> None:
    asked = await request(hub)
    await enrol(session, hub.address, asked, data_dir, RealDisk())
    with pytest.raises(Refused, match="cannot enrol.*token.*used"):
        await enrol(session, hub.address, asked, tmp_path, RealDisk())
    with pytest.raises(Refused, match="cannot enrol.*gate"):
        await enrol(session, hub.address, await request(hub), tmp_path, RealDisk())
    assert read_identity(tmp_path) is None


async def test_no_hub_is_not_a_hub(session: aiohttp.ClientSession, data_dir: Path) -> None:
    nobody = Enrol("tk", "gate", {}, "0.1", "")
    with pytest.raises(Transient, match="connection refused. Is the hub running"):
        await enrol(session, "http://127.0.0.1:9", nobody, data_dir, RealDisk())
    with pytest.raises((InvalidInput, Transient)):
        await enrol(session, "not an address", nobody, data_dir, RealDisk())


async def test_a_disk_that_fails_anywhere_spends_no_token(
    hub: RunningHub, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for nth in count(1):
        data_dir = tmp_path / f"node-{nth}"
        data_dir.mkdir()
        asked = await request(hub, f"gate-{nth}")
        disk = FaultyDisk(fail_at=nth)
        try:
            await enrol(session, hub.address, asked, data_dir, disk)
        except Refused as error:
            assert "try again with the same token" in str(error)  # noqa: PT017 - the loop ends without one
        else:
            break
        if read_identity(data_dir) is None:
            await enrol(session, hub.address, asked, data_dir, RealDisk())
        await says_hello(session, data_dir)
    assert nth > 3


async def test_a_lost_answer_spends_no_token(
    hub: RunningHub, session: aiohttp.ClientSession, data_dir: Path
) -> None:
    asked = await request(hub)
    host, _, port = hub.address.removeprefix("http://").partition(":")

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Lets the hub do what is asked, and keeps its answer."""
        from_hub, to_hub = await asyncio.open_connection(host, int(port))
        to_hub.write(await reader.read(65536))
        assert b" 200 " in await from_hub.readline()
        to_hub.close()
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as way:
        lossy = f"http://127.0.0.1:{way.sockets[0].getsockname()[1]}"
        with pytest.raises(Transient, match="without an answer"):
            await enrol(session, lossy, asked, data_dir, RealDisk())
    assert read_identity(data_dir) is None
    await enrol(session, hub.address, asked, data_dir, RealDisk())
    await says_hello(session, data_dir)
    assert not (data_dir / PENDING_FILE).exists()


async def says_hello(session: aiohttp.ClientSession, data_dir: Path) -> None:
    identity = read_identity(data_dir)
    assert identity is not None
    uplink = HttpUplink(
        session, identity.hub_url, identity.node_id, read_secret(data_dir, NullCipher())
    )
    await uplink.hello(Hello((1, 1), "1" * 32, "0.1", "boot"))
