"""The hub's end of the live link: one WebSocket per node, for «there is news» and for channels (wire.link).

`api.nodes` accepts a connection and hands it to `Links.run`. Whoever changes what a node should know
calls `Links.notify` or, for shared rows, `notify_rows`, from any thread. People's log tails and tunnels come through
`Links.open`.
Losing a link costs latency, never data: what matters travels by push and pull.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from skerry.hub.channel import Channel
from skerry.hub.fleet.agents import Agent
from skerry.kit.bell import Bell
from skerry.kit.errors import InvalidInput, Refused, Transient
from skerry.kit.fair_queue import FairQueue
from skerry.kit.tasks import supervised
from skerry.wire.link import (
    DELETED,
    OTHER_AGENT,
    REPLACED,
    Bytes,
    Close,
    Credit,
    Data,
    End,
    Message,
    News,
    Open,
    Opened,
    from_frame,
    from_text,
    to_frame,
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


class _Link:
    """One connection of one node."""

    def __init__(self, socket: Socket, agent: Agent | None, heard: Callable[[], None]) -> None:
        self.agent = agent
        self._socket = socket
        self._heard = heard
        self._ended: asyncio.Future[_End | None] = asyncio.get_running_loop().create_future()
        self._outgoing: FairQueue[int, Message] = FairQueue()
        self._news: News | None = None
        self._bell = Bell()
        self._channels: dict[int, Channel] = {}
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
            if self._rival is None or self._rival[0] < turn:
                self._rival = (turn, agent)
        elif self._turn < turn:
            self.end(_replaced(self.agent, agent))

    def tell_news(self, news: News) -> None:
        """Sends one «news» for any number of calls that come before it leaves."""
        self._news = news if self._news is None else News(rows=self._news.rows and news.rows)
        self._bell.ring()

    def open(self, kind: str, arguments: dict[str, str]) -> Channel:
        """Asks the node for a channel. Raises Transient when the link serves too many already."""
        if len(self._channels) >= MAX_CHANNELS:
            raise Transient(f"cannot open a {kind} channel: {MAX_CHANNELS} are open to this node")
        self._numbers += 1
        number = self._numbers
        channel = Channel(number, functools.partial(self._put, number), self._forget)
        self._channels[number] = channel
        self._put(number, Open(number, kind, arguments))
        return channel

    def _forget(self, channel: Channel) -> None:
        if self._channels.pop(channel.number, None) is not None:
            self._outgoing.drop(channel.number)

    def _put(self, number: int, message: Message) -> None:
        """Bytes take turns with those of other channels; credit is short, and the node may be waiting for it."""
        if isinstance(message, Credit):
            self._outgoing.put_urgent(message)
        else:
            self._outgoing.put(number, message)
        self._bell.ring()

    async def _send(self) -> None:
        seen = 0
        try:
            while True:
                message = self._next()
                if message is None:
                    seen = await self._bell.after(seen)
                elif isinstance(message, Bytes):
                    await self._socket.send_bytes(to_frame(message))
                else:
                    await self._socket.send_text(to_text(message))
        except (OSError, WebSocketDisconnect):
            self.end(None)

    def _next(self) -> Message | None:
        """News go first: they are short, and whatever fills the link could go on for hours."""
        if self._news is None:
            return self._outgoing.take()
        news, self._news = self._news, None
        return news

    async def _receive(self) -> None:
        try:
            while True:
                message = await receive_message(self._socket)
                self._heard()
                self._take(message)
        except WebSocketDisconnect:
            self.end(None)
        except InvalidInput as error:
            self.end(_End(NOT_UNDERSTOOD, str(error)[:100]))

    def _take(self, message: Message) -> None:
        match message:
            case Opened(number) if channel := self._channels.get(number):
                channel.answer()
            case Data(number) | Bytes(number) if channel := self._channels.get(number):
                if not channel.take(message):
                    raise InvalidInput(f"channel {number} sent more than its credit")
            case Credit(number, size) if channel := self._channels.get(number):
                channel.credit.grant(size)
            case End(number) if channel := self._channels.get(number):
                channel.inbox.end()
            case Close(number, error) if channel := self._channels.pop(number, None):
                channel.end(Refused(error) if error else None)
            case _:
                pass  # of a channel that was closed while this was under way


async def receive_message(socket: Socket) -> Message:
    """The next frame of a WebSocket as a message. Raises WebSocketDisconnect, and InvalidInput when it is none."""
    frame: Any = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(code=frame.get("code", 1005), detail="disconnect event")
    data = frame.get("bytes")
    return from_text(frame.get("text") or "") if data is None else from_frame(data)


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

    async def open(self, node_id: str, name: str, kind: str, arguments: dict[str, str]) -> Channel:
        """A channel to a service of the node that people call `name`; whoever has it closes it.

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
            channel.close()
            raise Transient(
                f"cannot reach node «{name}»: it does not answer, although its link to this hub stands. Try again in "
                "a minute; then look on the device: «skerry node status» tells whether its agent is frozen."
            ) from error
        except asyncio.CancelledError:
            channel.close()
            raise
        if channel.error is not None and not channel.inbox.outstanding:
            raise channel.error
        return channel

    def _tell_news(self, node_id: str, news: News) -> None:
        link = self._links.get(node_id)
        if link is not None:
            link.tell_news(news)
