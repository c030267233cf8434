"""The hub's ends of one channel on a node's live link: what came and is not consumed, credit for what goes (wire.link).

`link` makes them; `Tail` reads text, `tunnels` moves bytes both ways.
"""

from __future__ import annotations

from collections.abc import Callable

from skerry.kit.bell import Bell
from skerry.kit.credit import Credit as Allowance
from skerry.kit.credit import Inbox
from skerry.kit.errors import SkerryError
from skerry.wire.link import FLOWING, LARGEST, WINDOW, Bytes, Close, Credit, Data, End, Message

_TEXT = 256
"""Where text waits: no stream of bytes has this number."""

Put = Callable[[Message], None]
"""Sends a message of a channel when it is its turn."""


class Channel:
    """One channel. `put` sends what must keep its order; `forget` ends it here, and tells the node unless it has."""

    def __init__(self, number: int, put: Put, forget: Callable[[Channel], None]) -> None:
        self.number = number
        self.answered = False
        self.error: SkerryError | None = None
        self.inbox = Inbox(WINDOW, LARGEST)
        self.credit = Allowance(WINDOW)
        self._put = put
        self._forget = forget
        self._closed = False
        self._bell = Bell()

    @property
    def over(self) -> bool:
        """Whether the node, or the link, has ended it."""
        return self._closed

    def answer(self) -> None:
        """The node serves it."""
        self.answered = True
        self._bell.ring()

    def take(self, message: Data | Bytes) -> bool:
        """Whether the node had credit for it."""
        if isinstance(message, Bytes):
            data, stream = message.data, message.stream
        else:
            data, stream = message.text.encode(), _TEXT
        if not self.inbox.put(data, stream, whole=FLOWING <= stream < _TEXT):
            return False
        self.answer()
        return True

    def end(self, error: SkerryError | None) -> None:
        """Nothing more comes or goes; `error` is None when all went well."""
        if not self._closed:
            self._closed = True
            self.error = error
            self.inbox.end()
            self._bell.ring()

    async def begun(self) -> None:
        """Returns when the node has said that it serves the channel, or that it does not."""
        while not self.answered and not self._closed:
            await self._bell.after(self._bell.count)

    async def ended(self) -> None:
        """Returns when the node, or the link, has ended it."""
        while not self._closed:
            await self._bell.after(self._bell.count)

    async def receive(self) -> Data | Bytes | None:
        """The next message, whose credit is granted again; None at the end. Raises what ended it early."""
        taken = await self.inbox.take()
        if taken is not None:
            data, stream = taken
            if not self._closed:
                self._put(Credit(self.number, len(data)))
            if stream == _TEXT:
                return Data(self.number, data.decode())
            return Bytes(self.number, data, stream)
        if self.error is not None:
            raise self.error
        return None

    async def send(self, data: bytes, stream: int = 0) -> None:
        """Returns when the node has room for the bytes. After the end they are dropped."""
        for start in range(0, len(data), LARGEST):
            piece = data[start : start + LARGEST]
            await self.credit.spend(len(piece))
            if not self._closed:
                self._put(Bytes(self.number, piece, stream))

    def send_end(self) -> None:
        """Tells the node that no more bytes come."""
        if not self._closed:
            self._put(End(self.number))

    def close(self) -> None:
        """Nobody here uses it any more. Harmless after its end."""
        self._forget(self)
        if not self._closed:
            self._put(Close(self.number))
        self.end(None)


class Tail:
    """The texts of one channel, for one reader, who closes it when done."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __aiter__(self) -> Tail:
        return self

    async def __anext__(self) -> str:
        message = await self._channel.receive()
        while isinstance(message, Bytes):  # of no meaning in a log
            message = await self._channel.receive()
        if message is None:
            raise StopAsyncIteration
        return message.text

    async def close(self) -> None:
        """Tells the node that nobody reads any more. Harmless at the end of the texts."""
        self._channel.close()
