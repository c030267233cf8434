"""A node's channels: against a hub that does not keep to its credit, or asks for too many; and they keep to theirs."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from tests.sync_rig import Logs

from skerry.kit.clock import SystemClock
from skerry.kit.tasks import supervised
from skerry.node.channel_port import ServedChannel
from skerry.node.sync.channels import MOST_CHANNELS, Channels
from skerry.wire.executions import RESIZED
from skerry.wire.link import (
    LARGEST,
    WINDOW,
    Bytes,
    Close,
    Credit,
    Data,
    End,
    Message,
    Open,
    Opened,
)


class Heard:
    """What the node says."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    async def send(self, message: Message) -> None:
        self.messages.put_nowait(message)

    async def next(self) -> Message:
        async with asyncio.timeout(30):
            return await self.messages.get()


async def heard_until(heard: Heard, last: Message) -> AsyncIterator[Message]:
    while (message := await heard.next()) != last:
        yield message


async def stuck(channel: ServedChannel) -> None:
    """Takes nothing."""
    await channel.accept()
    await asyncio.Event().wait()


async def upper(channel: ServedChannel) -> None:
    """Answers each piece with the one after its stream, in capitals."""
    await channel.accept()
    while (taken := await channel.receive()) is not None:
        await channel.send(taken[0].upper(), taken[1] + 1)
    await channel.end()


MUCH = 3 * WINDOW


async def flood(channel: ServedChannel) -> None:
    """Sends much, whoever takes it."""
    await channel.accept()
    await channel.send(bytes(MUCH))


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Channels, Heard]]:
    heard = Heard()
    services = {"stuck": lambda: stuck, "upper": lambda: upper, "flood": lambda: flood}
    logs = Logs({"w": ["x" * MUCH]})
    async with supervised() as tasks:
        chance = random.Random(1)
        yield Channels(heard, logs, tasks, SystemClock(), chance, services), heard


async def test_streams_are_told_apart_and_credit_is_granted_as_bytes_are_taken(
    rig: tuple[Channels, Heard],
) -> None:
    channels, heard = rig
    channels.take(Open(1, "upper", {}))
    assert await heard.next() == Opened(1)
    channels.take(Bytes(1, b"abc", 3))
    channels.take(End(1))
    said = [await heard.next() for _ in range(4)]
    assert said == [Credit(1, 3), Bytes(1, b"ABC", 4), End(1), Close(1)]


async def test_what_waits_is_joined_but_for_messages(rig: tuple[Channels, Heard]) -> None:
    channels, heard = rig
    channels.take(Open(1, "upper", {}))
    for data, stream in [(b"a", 0), (b"b", 0), (b"{}", RESIZED), (b"{}", RESIZED), (b"c", 0)]:
        channels.take(Bytes(1, data, stream))
    channels.take(End(1))
    said = [message async for message in heard_until(heard, Close(1))]
    assert [message for message in said if isinstance(message, Bytes)] == [
        Bytes(1, b"AB", 1),
        Bytes(1, b"{}", RESIZED + 1),
        Bytes(1, b"{}", RESIZED + 1),
        Bytes(1, b"C", 1),
    ]


async def test_a_hub_that_sends_more_than_its_credit_loses_the_channel(
    rig: tuple[Channels, Heard],
) -> None:
    channels, heard = rig
    channels.take(Open(1, "stuck", {}))
    assert await heard.next() == Opened(1)
    for _ in range(WINDOW // LARGEST + 1):
        channels.take(Bytes(1, bytes(LARGEST)))
    assert await heard.next() == Close(1, "the hub sent more than its credit")


async def test_a_hub_has_so_many_channels_and_no_more(rig: tuple[Channels, Heard]) -> None:
    channels, heard = rig
    for number in range(MOST_CHANNELS):
        channels.take(Open(number, "stuck", {}))
        assert await heard.next() == Opened(number)
    channels.take(Open(MOST_CHANNELS, "stuck", {}))
    answer = await heard.next()
    assert isinstance(answer, Close)
    assert "64 are open" in answer.error


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("kind", ["flood", "logs"])
async def test_a_node_sends_what_it_has_credit_for_and_no_more(
    rig: tuple[Channels, Heard], kind: str
) -> None:
    channels, heard = rig

    async def until_another_has_ended(number: int) -> int:
        """Bytes of channel 1 that come before all of another channel's have."""
        channels.take(Open(number, "upper", {}))
        channels.take(Bytes(number, b"abc"))
        channels.take(End(number))
        size = 0
        while (message := await heard.next()) != Close(number):
            match message:
                case Bytes(1, data):
                    size += len(data)
                case Data(1, text):
                    size += len(text)
        return size

    channels.take(Open(1, kind, {"workload": "w"}))
    assert await heard.next() == Opened(1)
    size = 0
    while size < WINDOW:
        message = await heard.next()
        assert isinstance(message, Bytes | Data)
        size += len(message.data if isinstance(message, Bytes) else message.text)
    assert size == WINDOW
    assert await until_another_has_ended(2) == 0
    channels.take(Credit(1, LARGEST))
    assert await until_another_has_ended(3) <= LARGEST
    assert await until_another_has_ended(4) <= LARGEST
