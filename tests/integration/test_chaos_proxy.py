"""Every fault of the chaos proxy, between real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from skerry.testing.chaos_proxy import ChaosProxy
from skerry.testing.waiting import eventually

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo_port: int) -> AsyncIterator[ChaosProxy]:
    async with ChaosProxy("127.0.0.1", echo_port) as proxy:
        yield proxy


async def connect(proxy: ChaosProxy) -> Connection:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def say(connection: Connection, data: bytes) -> bytes:
    reader, writer = connection
    writer.write(data)
    await writer.drain()
    return await reader.readexactly(len(data))


async def test_forwards_both_ways_and_passes_the_end_on(proxy: ChaosProxy) -> None:
    reader, writer = connection = await connect(proxy)
    sent = bytes(range(256)) * 4096
    assert await say(connection, sent) == sent
    writer.write_eof()
    assert await reader.read() == b""
    assert proxy.forwarded == {"up": len(sent), "down": len(sent)}
    writer.close()


async def test_nothing_is_held_back_for_acknowledgements(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    await say(connection, b"x")  # so that both of its sides are there
    (writers,) = proxy._connections.values()
    ways = [writer.get_extra_info("socket") for writer in writers]
    assert [bool(way.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) for way in ways] == [
        True
    ] * 2
    connection[1].close()


async def test_delay_holds_back_each_direction(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    proxy.path.delay = 0.05
    loop = asyncio.get_running_loop()
    started = loop.time()
    await say(connection, b"x")
    assert loop.time() - started >= 0.1  # cannot be faster than the two delays
    connection[1].close()


async def test_rate_limits_how_fast_bytes_come(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    proxy.path.rate = 100_000
    loop = asyncio.get_running_loop()
    started = loop.time()
    await say(connection, b"x" * 20_000)
    assert loop.time() - started >= 0.15
    connection[1].close()


async def test_a_black_hole_holds_bytes_until_it_is_healed(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    proxy.black_hole()
    answer = asyncio.create_task(say(connection, b"held"))
    newcomer = await connect(proxy)
    other = asyncio.create_task(say(newcomer, b"too"))
    await eventually(lambda: proxy.accepted == 2, "the newcomer is accepted")
    await asyncio.wait({answer, other}, timeout=0.05)
    assert not answer.done()
    assert not other.done()
    proxy.heal()
    assert await answer == b"held"
    assert await other == b"too"
    connection[1].close()
    newcomer[1].close()


async def test_in_a_deep_black_hole_new_connections_get_no_answer(proxy: ChaosProxy) -> None:
    proxy.black_hole(connects="hanging")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await connect(proxy)
    proxy.heal()
    connection = await connect(proxy)
    assert await say(connection, b"again") == b"again"
    connection[1].close()


async def test_refused_connections_leave_living_ones_alone(proxy: ChaosProxy) -> None:
    living = await connect(proxy)
    assert await say(living, b"a") == b"a"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    assert await say(living, b"b") == b"b"
    proxy.heal()
    newcomer = await connect(proxy)
    assert await say(newcomer, b"c") == b"c"
    living[1].close()
    newcomer[1].close()


async def test_reset_reaches_the_client(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    assert await say(connection, b"a") == b"a"
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        await connection[0].readexactly(1)
    connection[1].close()


async def test_cut_after_a_number_of_bytes(proxy: ChaosProxy) -> None:
    connection = await connect(proxy)
    proxy.cut_after(10, "up")
    connection[1].write(b"x" * 100)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await connection[0].readexactly(100)
    assert proxy.forwarded["up"] == 10
    again = await connect(proxy)
    assert await say(again, b"y" * 100) == b"y" * 100
    connection[1].close()
    again[1].close()
