"""The agent's end of the keeper's protocol: requests, replies in any order, events, and the loss of the connection."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from skerry.keeper import protocol
from skerry.keeper.protocol import Fields, Message, ProtocolError
from skerry.kit.errors import Refused, Transient

Transmit = Callable[[socket.socket, bytes], None]
"""Sends one encoded message; `protocol.transmit` unless a test makes the n-th message fail."""

_READS_PER_TURN = 64


class ConnectionLost(Transient):
    """The keeper hung up before it replied; whether it acted is unknown, and every request may be repeated."""


class KeeperRefusal(Refused):
    """The keeper answered with an error. `word`, `errno` and `step` are the protocol's fields."""

    def __init__(self, reply: Message) -> None:
        super().__init__(reply.get("text") or "")
        self.word = reply.get("error") or ""
        self.errno = int(reply.get("errno") or 0)
        self.step = reply.get("step") or ""


def open_socket(path: Path) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(0)
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


class KeeperClient:
    """One connection. `on_lost` is called once when the keeper hangs up, not after `close`."""

    def __init__(
        self,
        sock: socket.socket,
        on_event: Callable[[Message], None],
        on_lost: Callable[[], None],
        transmit: Transmit,
    ) -> None:
        self._sock = sock
        self._on_event = on_event
        self._on_lost = on_lost
        self._transmit = transmit
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._waiting: deque[bytes] = deque()
        self._open = True
        self._loop.add_reader(sock, self._receive)

    async def ask(self, operation: str, fields: Fields = ()) -> Message:
        """Sends a request and returns its reply. Raises KeeperRefusal, ConnectionLost or ProtocolError."""
        number = str(next(self._numbers))
        body = protocol.encode([("op", operation), ("id", number), *fields])
        if not self._open:
            raise ConnectionLost("the keeper has hung up")
        reply: asyncio.Future[Message] = self._loop.create_future()
        self._replies[number] = reply
        try:
            self._waiting.append(body)
            if len(self._waiting) == 1:
                self._send_waiting()
            answer = await reply
        finally:
            del self._replies[number]
        if answer.get("error") is not None:
            raise KeeperRefusal(answer)
        return answer

    def close(self) -> None:
        """Hangs up without telling anybody."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(ConnectionLost("the keeper has hung up"))

    def _lose(self) -> None:
        if self._open:
            self.close()
            self._on_lost()

    def _receive(self) -> None:
        for _ in range(_READS_PER_TURN):
            if not self._open:
                return
            try:
                message = protocol.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, ProtocolError):
                message = None
            if message is not None:
                message.close()  # a keeper sends none
            if message is None:
                self._lose()
            elif message.get("event") is not None:
                self._on_event(message)
            else:
                self._resolve(message)

    def _resolve(self, message: Message) -> None:
        reply = self._replies.get(message.get("id") or "")
        if reply is not None and not reply.done():
            reply.set_result(message)

    def _send_waiting(self) -> None:
        try:
            while self._waiting:
                self._transmit(self._sock, self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._send_waiting)
            return
        except OSError:
            self._lose()
            return
        self._loop.remove_writer(self._sock)
