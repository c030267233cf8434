"""The hub's end of the live link: one WebSocket per node, for «there is news» and for channels (wire.link).

`api.nodes` accepts a connection and hands it to `Links.run`. Whoever changes what a node should know
calls `Links.notify` or, for shared rows, `notify_rows`, from any thread. People's log tails come through `Links.open`.
Losing a link costs latency, never data: what matters travels by push and pull.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from skerry.hub.fleet.agents import Agent
from skerry.kit.bell import Bell
from skerry.kit.errors import InvalidInput, Refused, SkerryError, Transient
from skerry.kit.tasks import supervised
from skerry.wire.link import (
    DELETED,
    OTHER_AGENT,
    REPLACED,
    WINDOW,
    Close,
    Credit,
    Data,
    Message,
    News,
    Open,
    Opened,
    from_text,
    to_text,
)

MAX_CHANNELS = 64
"""Channels that one node serves at a time."""

FIRST_ANSWER = 3.0
"""Seconds in which a node says that it serves a new channel. People's commands wait 5 s for a hub beside them."""

COME_AGAIN = 1012
"""WebSocket's own code for a service that begins anew."""

NOT_UNDERSTOOD = 1002
"""WebSocket's own code for an error of protocol."""

Socket = WebSocket[Any, Any, Any]


@dataclass(frozen=True)
class _End:
    """How this side ends a link: a WebSocket close code and its reason."""

    code: int
    reason: str


class _Channel:
    """The receiving end of one channel: texts in order, with what they cost until they are consumed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.outstanding = 0
        self.answered = False
        self.ended = False
        self.error: SkerryError | None = None
        self._texts: deque[str] = deque()
        self._bell = Bell()

    def answer(self) -> None:
        """The node serves it."""
        self.answered = True
        self._bell.ring()

    def put(self, text: str) -> None:
        """Takes a text; the caller has checked the credit."""
        self.outstanding += len(text.encode())
        self._texts.append(text)
        self.answered = True
        self._bell.ring()

    def end(self, error: SkerryError | None) -> None:
        """No more texts; `error` is None when all went well."""
        if not self.ended:
            self.ended = True
            self.error = error
            self._bell.ring()

    async def begun(self) -> None:
        """Returns when the node has said that it serves the channel, or that it does not."""
        while not self.answered and not self.ended:
            await self._bell.after(self._bell.count)

    async def take(self) -> str | None:
        """The next text, or None at the end."""
        while not self._texts and not self.ended:
            await self._bell.after(self._bell.count)
        return self._texts.popleft() if self._texts else None


class _Link:
    """One connection of one node."""

    def __init__(self, socket: Socket, agent: Agent | None, heard: Callable[[], None]) -> None:
        self.agent = agent
        self._socket = socket
        self._heard = heard
        self._ended: asyncio.Future[_End | None] = asyncio.get_running_loop().create_future()
        self._outgoing: deque[Message] = deque()
        self._news: News | None = None
        self._bell = Bell()
        self._channels: dict[int, _Channel] = {}
        self._numbers = 0
        self._turn: int | None = None
        self._rival: tuple[int, Agent | None] | None = None

    async def run(self) -> None:
        """Sends and receives until either side ends the link."""
        try:
            async with supervised() as tasks:
                _ = tasks.start(self._send(), name="link sender")
                _ = tasks.start(self._receive(), name="link receiver")
                end = await self._ended
        finally:
            for channel in self._channels.values():
                channel.end(Transient("cannot read on: the link to the node was cut"))
        if end is not None:
            # A dead peer never drains its buffer: closing politely must not take for ever.
            with contextlib.suppress(TimeoutError, OSError, WebSocketDisconnect):
                async with asyncio.timeout(1.0):
                    await self._socket.close(end.code, end.reason)

    @property
    def over(self) -> bool:
        """Whether either side has ended it."""
        return self._ended.done()

    def end(self, how: _End | None) -> None:
        """Ends the link: from this side, or (None) because the peer is gone."""
        if not self.over:
            self._ended.set_result(how)

    def take_turn(self, turn: asyncio.Future[int]) -> None:
        """The link's own turn is known, unless that failed."""
        if not turn.cancelled() and turn.exception() is None:
            self._turn = turn.result()
            if self._rival is not None:
                self.meet(*self._rival)

    def meet(self, turn: int, agent: Agent | None) -> None:
        """The node has another link, at another hub process. The later one stays."""
        if self._turn is None:
            self._rival = (turn, agent)
        elif self._turn < turn:
            self.end(_replaced(self.agent, agent))

    def tell_news(self, news: News) -> None:
        """Sends one «news» for any number of calls that come before it leaves."""
        self._news = news if self._news is None else News(rows=self._news.rows and news.rows)
        self._bell.ring()

    def open(self, kind: str, arguments: dict[str, str]) -> _Channel:
        """Asks the node for a channel. Raises Transient when the link serves too many already."""
        if len(self._channels) >= MAX_CHANNELS:
            raise Transient(f"cannot open a {kind} channel: {MAX_CHANNELS} are open to this node")
        self._numbers += 1
        channel = _Channel(self._numbers)
        self._channels[channel.number] = channel
        self._put(Open(channel.number, kind, arguments))
        return channel

    def consumed(self, channel: _Channel, text: str) -> None:
        """Grants the credit of a text again."""
        size = len(text.encode())
        channel.outstanding -= size
        if channel.number in self._channels:
            self._put(Credit(channel.number, size))

    def close(self, channel: _Channel) -> None:
        """Forgets the channel, and tells the node when it has not ended it itself."""
        if self._channels.pop(channel.number, None) is not None and not channel.ended:
            self._put(Close(channel.number))

    def _put(self, message: Message) -> None:
        self._outgoing.append(message)
        self._bell.ring()

    async def _send(self) -> None:
        seen = 0
        try:
            while True:
                if self._news is not None:
                    news, self._news = self._news, None
                    await self._socket.send_text(to_text(news))
                while self._outgoing:
                    await self._socket.send_text(to_text(self._outgoing.popleft()))
                seen = await self._bell.after(seen)
        except (OSError, WebSocketDisconnect):
            self.end(None)

    async def _receive(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                self._heard()
                self._take(from_text(text))
        except WebSocketDisconnect:
            self.end(None)
        except InvalidInput as error:
            self.end(_End(NOT_UNDERSTOOD, str(error)[:100]))

    def _take(self, message: Message) -> None:
        match message:
            case Opened(number) if channel := self._channels.get(number):
                channel.answer()
            case Data(number, text) if channel := self._channels.get(number):
                if channel.outstanding + len(text.encode()) > WINDOW:
                    raise InvalidInput(f"channel {number} sent more than its credit")
                channel.put(text)
            case Close(number, error) if channel := self._channels.pop(number, None):
                channel.end(Refused(error) if error else None)
            case _:
                pass  # of a channel that was closed while this was under way


class Tail:
    """The texts of one channel, for one reader, who closes it when done."""

    def __init__(self, link: _Link, channel: _Channel) -> None:
        self._link = link
        self._channel = channel

    def __aiter__(self) -> Tail:
        return self

    async def __anext__(self) -> str:
        text = await self._channel.take()
        if text is not None:
            self._link.consumed(self._channel, text)
            return text
        if self._channel.error is not None:
            raise self._channel.error
        raise StopAsyncIteration

    async def close(self) -> None:
        """Tells the node that nobody reads any more. Harmless at the end of the texts."""
        self._link.close(self._channel)


def _replaced(older: Agent | None, newer: Agent | None) -> _End:
    if older is None or newer is None or older.run == newer.run:
        return _End(REPLACED, "replaced by a newer connection of this node")
    return _End(OTHER_AGENT, f"another agent of this node connected from {newer.place}"[:100])


class Links:
    """All live links. Everything but `notify` and `notify_rows` belongs to the event loop's thread.

    A node has `first_answer` seconds to say that it serves a channel.
    """

    def __init__(self, first_answer: float = FIRST_ANSWER) -> None:
        self._first_answer = first_answer
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._links: dict[str, _Link] = {}

    async def run(
        self,
        node_id: str,
        socket: Socket,
        agent: Agent | None,
        heard: Callable[[], None],
        turn: asyncio.Future[int],
    ) -> None:
        """Serves an accepted connection until it ends; calls `heard` at every message.

        `turn` orders the node's links at all hub processes; it may be known later.

        An older connection of the node is replaced, and told whether by its own agent or by another one.
        """
        older = self._links.get(node_id)
        if older is not None:
            older.end(_replaced(older.agent, agent))
        link = self._links[node_id] = _Link(socket, agent, heard)
        turn.add_done_callback(link.take_turn)
        try:
            await link.run()
        finally:
            if self._links.get(node_id) is link:
                del self._links[node_id]

    def connected(self, node_id: str) -> bool:
        """Whether the node has a link now."""
        return node_id in self._links

    def end(self, node_id: str, deed: str = "deleted") -> None:
        """The hub has deleted (or revoked) the node: its link ends."""
        link = self._links.get(node_id)
        if link is not None:
            link.end(_End(DELETED, f"the hub has {deed} this node"))

    def end_for_news(self, node_id: str) -> None:
        """The node is to greet the hub again: the answer has something new. Its agent comes back at once."""
        link = self._links.get(node_id)
        if link is not None:
            link.end(_End(COME_AGAIN, "come again: the hub has news for your greeting"))

    @property
    def nodes(self) -> list[str]:
        """The ids of the nodes that have a link."""
        return list(self._links)

    def moved(self, node_id: str, turn: int, agent: Agent | None) -> None:
        """The node has opened a link at another hub process: the one here ends if it is of an earlier turn."""
        link = self._links.get(node_id)
        if link is not None:
            link.meet(turn, agent)

    def notify(self, node_id: str) -> None:
        """Tells the node that there are changes for it, if it is connected. May be called from any thread."""
        self._notify(node_id, News())

    def notify_rows(self, node_id: str) -> bool:
        """As `notify`, where nothing but shared rows has changed; whether the node is connected."""
        self._notify(node_id, News(rows=True))
        return node_id in self._links

    def _notify(self, node_id: str, news: News) -> None:
        if threading.get_ident() == self._thread:
            self._tell_news(node_id, news)
        else:
            self._loop.call_soon_threadsafe(self._tell_news, node_id, news)

    async def open(self, node_id: str, name: str, kind: str, arguments: dict[str, str]) -> Tail:
        """Texts of a service of the node that people call `name`, as fast as the caller takes them.

        Raises Transient when the node is not connected or does not answer, and Refused when it declines. What
        goes wrong later is raised at the end of the texts.
        """
        link = self._links.get(node_id)
        if link is None or link.over:
            raise Transient(
                f"cannot reach node «{name}»: it has no live link to this hub now. Try again when it is online."
            )
        channel = link.open(kind, arguments)
        try:
            async with asyncio.timeout(self._first_answer):
                await channel.begun()
        except TimeoutError as error:
            link.close(channel)
            raise Transient(
                f"cannot reach node «{name}»: it does not answer, although its link to this hub stands. Try again in "
                "a minute; then look on the device: «skerry node status» tells whether its agent is frozen."
            ) from error
        except asyncio.CancelledError:
            link.close(channel)
            raise
        if channel.error is not None and not channel.outstanding:
            raise channel.error
        return Tail(link, channel)

    def _tell_news(self, node_id: str, news: News) -> None:
        link = self._links.get(node_id)
        if link is not None:
            link.tell_news(news)
