"""Connections to the keeper's socket: messages in, and a queue of messages out that never blocks."""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

from skerry.keeper import protocol
from skerry.keeper.loop import Loop
from skerry.keeper.protocol import Fields, Message, ProtocolError

_MOST_WAITING = 10_000
"""An agent that leaves so many messages unread is disconnected; exits stay kept for the next one."""


class Connection:
    """One accepted socket. `on_message` gets what arrives; `on_close` is called once, whoever closes."""

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        sock.settimeout(0)
        self.open = True
        self._sock = sock
        self._loop = loop
        self._on_message = on_message
        self._on_close = on_close
        self._waiting: deque[tuple[bytes, Sequence[socket.socket]]] = deque()
        loop.watch(sock.fileno(), self._receive)

    def peer_pid(self) -> int:
        """The process that connected."""
        credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("iII", credentials)[0]
        return pid

    def hung_up(self) -> bool:
        """Whether the peer is gone, even if its last messages are still unread."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return bool(poll.poll(0))

    def send(self, fields: Fields, sockets: Sequence[socket.socket] = ()) -> None:
        """Sends now, or later when the peer reads too slowly; with copies of the sockets. Hangs up if one is closed by then."""
        if not self.open:
            return
        self._waiting.append((protocol.encode(fields), sockets))
        if len(self._waiting) > _MOST_WAITING:
            self.close()
        elif len(self._waiting) == 1:
            self._send_waiting()

    def close(self) -> None:
        """Hangs up."""
        if self.open:
            self.open = False
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._on_close(self)

    def _receive(self) -> None:
        if not self.open:
            return
        try:
            message = protocol.receive(self._sock)
        except BlockingIOError:
            return
        except ProtocolError as error:
            # Who cannot keep the form gets told and is not listened to any further.
            self.send([("error", "malformed"), ("text", error)])
            self.close()
            return
        except OSError:
            message = None
        if message is None:
            self.close()
        else:
            self._on_message(self, message)

    def _send_waiting(self) -> None:
        if not self.open:
            return
        try:
            while self._waiting:
                body, sockets = self._waiting[0]
                protocol.transmit(self._sock, body, [sock.fileno() for sock in sockets])
                self._waiting.popleft()
            self._loop.when_writable(self._sock.fileno(), None)
        except BlockingIOError:
            self._loop.when_writable(self._sock.fileno(), self._send_waiting)
        except OSError:
            self.close()
