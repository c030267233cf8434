"""Channels that the hub opens on the live link: log tails now.

Each spends credit, so that one slow reader at the hub never fills the link for the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import InvalidInput, SkerryError, Transient
from skerry.kit.tasks import Guard, Tasks
from skerry.node.ports import LogSource
from skerry.wire.link import WINDOW, Close, Credit, Data, Message, Open, Opened
from skerry.wire.logs import read_log_query

_PIECE = 8192
"""Characters of one Data message: at most 32 KiB, an eighth of the window, whatever the text."""

MOST_HISTORY = 32 * 1024 * 1024
"""So many bytes of a log, and no more, are sent to who does not follow it: a link may be slow and paid for."""
_TOO_LONG = (
    f"cannot send more than {MOST_HISTORY >> 20} MiB of a log at a time: the lines above are the oldest. "
    "Ask for a shorter time with --since and --until, or for a --level."
)


class Sender(Protocol):
    """The live link's sending side; raises Transient once the link is gone."""

    async def send(self, message: Message) -> None: ...


class _Credit:
    """Bytes that the receiver of one channel is still willing to take."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._bell = Bell()

    def grant(self, size: int) -> None:
        self._left += size
        self._bell.ring()

    async def spend(self, size: int) -> None:
        """Waits until `size` bytes may be sent."""
        while self._left < size:
            await self._bell.after(self._bell.count)
        self._left -= size


class Channels:
    """The channels of one live connection; they end with `tasks`."""

    def __init__(
        self, sender: Sender, logs: LogSource, tasks: Tasks, clock: Clock, chance: random.Random
    ) -> None:
        self._sender = sender
        self._logs = logs
        self._tasks = tasks
        self._clock = clock
        self._chance = chance
        self._open: dict[int, tuple[asyncio.Task[None], _Credit]] = {}

    def take(self, message: Open | Credit | Close) -> None:
        """What the hub says about a channel. Word of one that has ended is late, not wrong."""
        if isinstance(message, Open):
            credit = _Credit()
            task = self._tasks.start(
                self._serve(message, credit), name=f"channel {message.channel} ({message.kind})"
            )
            self._open[message.channel] = (task, credit)
        elif message.channel in self._open:
            task, credit = self._open[message.channel]
            if isinstance(message, Credit):
                credit.grant(message.size)
            else:
                task.cancel()
                del self._open[message.channel]

    async def _serve(self, message: Open, credit: _Credit) -> None:
        words = "cannot serve the channel: the node failed. Its log says why."

        async def serve() -> None:
            nonlocal words
            words = await self._send_lines(message, credit)

        await Guard(f"channel «{message.kind}»", self._clock, self._chance).run(serve)
        self._open.pop(message.channel, None)
        with contextlib.suppress(Transient):
            await self._sender.send(Close(message.channel, words))

    async def _send_lines(self, message: Open, credit: _Credit) -> str:
        """Sends a log's lines; returns why it ended, or nothing when all went well."""
        sent = 0
        try:
            lines = self._lines(message)
            await self._sender.send(Opened(message.channel))
            async for line in lines:
                for piece in _pieces(f"{line}\n"):
                    size = len(piece.encode())
                    sent += size
                    await credit.spend(size)
                    await self._sender.send(Data(message.channel, piece))
                if sent > MOST_HISTORY and not read_log_query(message.arguments).follow:
                    return _TOO_LONG
        except SkerryError as error:
            return str(error)
        return ""

    def _lines(self, message: Open) -> AsyncIterator[str]:
        if message.kind != "logs":
            raise InvalidInput(f"cannot open channel: this node knows no kind «{message.kind}»")
        workload = message.arguments.get("workload", "")
        return self._logs.read(workload, read_log_query(message.arguments))


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]
