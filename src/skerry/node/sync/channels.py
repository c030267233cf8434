"""Channels that the hub opens on the live link: log tails, and what other rooms of the node serve by their kind.

Each direction spends credit, so that one slow reader at either end never fills the link for the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Protocol

from skerry.kit.clock import Clock
from skerry.kit.credit import Credit as Allowance
from skerry.kit.credit import Inbox
from skerry.kit.errors import InvalidInput, SkerryError, Transient
from skerry.kit.tasks import Guard, Tasks
from skerry.node.channel_port import ChannelService
from skerry.node.ports import LogSource
from skerry.wire.link import (
    FLOWING,
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
from skerry.wire.logs import read_log_query

_PIECE = 8192
"""Characters of one Data message: at most 32 KiB, an eighth of the window, whatever the text."""

MOST_CHANNELS = 64
"""At a time: as many as a hub asks for."""

MOST_HISTORY = 32 * 1024 * 1024
"""So many bytes of a log, and no more, are sent to who does not follow it: a link may be slow and paid for."""
_TOO_LONG = (
    f"cannot send more than {MOST_HISTORY >> 20} MiB of a log at a time: the lines above are the oldest. "
    "Ask for a shorter time with --since and --until, or for a --level."
)

Services = Mapping[str, Callable[[], ChannelService]]
"""By the kind of their channels; each is made, and loaded, with the first channel that asks for it."""


class Sender(Protocol):
    """The live link's sending side; raises Transient once the link is gone."""

    async def send(self, message: Message) -> None: ...


class Channel:
    """One channel as the service sees it. Implements `ports.ServedChannel`."""

    def __init__(self, opened: Open, sender: Sender) -> None:
        self.arguments: Mapping[str, str] = opened.arguments
        self.credit = Allowance(WINDOW)
        self.inbox = Inbox(WINDOW, LARGEST)
        self._number = opened.channel
        self._sender = sender

    async def accept(self) -> None:
        await self._sender.send(Opened(self._number))

    async def send_text(self, text: str) -> int:
        """Sends text in pieces; returns its bytes."""
        sent = 0
        for piece in _pieces(text):
            size = len(piece.encode())
            await self.credit.spend(size)
            await self._sender.send(Data(self._number, piece))
            sent += size
        return sent

    async def send(self, data: bytes, stream: int = 0) -> None:
        for start in range(0, len(data), LARGEST):
            piece = data[start : start + LARGEST]
            await self.credit.spend(len(piece))
            await self._sender.send(Bytes(self._number, piece, stream))
            # A fast link never makes this task wait, and then nobody else would have a turn.
            await asyncio.sleep(0)

    async def end(self) -> None:
        await self._sender.send(End(self._number))

    async def receive(self) -> tuple[bytes, int] | None:
        taken = await self.inbox.take()
        if taken is not None:
            await self._sender.send(Credit(self._number, len(taken[0])))
        return taken


class Channels:
    """The channels of one live connection; they end with `tasks`."""

    def __init__(
        self,
        sender: Sender,
        logs: LogSource,
        tasks: Tasks,
        clock: Clock,
        chance: random.Random,
        services: Services,
    ) -> None:
        self._sender = sender
        self._logs = logs
        self._services = services
        self._tasks = tasks
        self._clock = clock
        self._chance = chance
        self._open: dict[int, tuple[Channel, asyncio.Task[None]]] = {}
        self._made: dict[str, ChannelService] = {}

    def take(self, message: Open | Bytes | End | Credit | Close) -> None:
        """What the hub says about a channel. Word of one that has ended is late, not wrong."""
        if isinstance(message, Open):
            self._begin(message)
            return
        if message.channel not in self._open:
            return
        channel, _ = self._open[message.channel]
        match message:
            case Credit():
                channel.credit.grant(message.size)
            case Bytes(_, data, stream):
                if not channel.inbox.put(data, stream, whole=stream >= FLOWING):
                    self._lose(message.channel, "the hub sent more than its credit")
            case End():
                channel.inbox.end()
            case Close():
                self._lose(message.channel)

    def _begin(self, message: Open) -> None:
        name = f"channel {message.channel} ({message.kind})"
        if message.channel in self._open or len(self._open) >= MOST_CHANNELS:
            words = f"cannot open the channel: {len(self._open)} are open to this node"
            _ = self._tasks.start(self._close(message.channel, words), name=name)
            return
        channel = Channel(message, self._sender)
        task = self._tasks.start(self._serve(message, channel), name=name)
        self._open[message.channel] = (channel, task)

    def _lose(self, number: int, words: str = "") -> None:
        self._open.pop(number)[1].cancel()
        if words:
            _ = self._tasks.start(self._close(number, words), name=f"end of channel {number}")

    async def _serve(self, message: Open, channel: Channel) -> None:
        words = "cannot serve the channel: the node failed. Its log says why."

        async def serve() -> None:
            nonlocal words
            words = await self._serve_kind(message, channel)

        await Guard(f"channel «{message.kind}»", self._clock, self._chance).run(serve)
        self._open.pop(message.channel, None)
        await self._close(message.channel, words)

    async def _close(self, number: int, words: str) -> None:
        with contextlib.suppress(Transient):
            await self._sender.send(Close(number, words))

    async def _serve_kind(self, message: Open, channel: Channel) -> str:
        """Serves until it ends; returns why it ended, or nothing when all went well."""
        try:
            if message.kind == "logs":
                return await self._send_lines(channel)
            await self._service(message.kind)(channel)
        except SkerryError as error:
            return str(error)
        return ""

    def _service(self, kind: str) -> ChannelService:
        if kind not in self._services:
            raise InvalidInput(f"cannot open channel: this node knows no kind «{kind:.40}»")
        if kind not in self._made:
            self._made[kind] = self._services[kind]()
        return self._made[kind]

    async def _send_lines(self, channel: Channel) -> str:
        """Sends a log's lines; returns why it ended, or nothing when all went well."""
        sent = 0
        query = read_log_query(channel.arguments)
        lines: AsyncIterator[str] = self._logs.read(channel.arguments.get("workload", ""), query)
        await channel.accept()
        async for line in lines:
            sent += await channel.send_text(f"{line}\n")
            if sent > MOST_HISTORY and not query.follow:
                return _TOO_LONG
        return ""


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
