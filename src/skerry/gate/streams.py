"""A connected socket on the loop: data in, and a queue of data out that never blocks and is never without a bound."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from skerry.keeper.loop import Loop

FULL = 256 * 1024
"""With so many bytes waiting for a peer, whoever sends to it is not read any more, until a quarter is left."""

_AT_ONCE = 64 * 1024
_PARTS = 64
_LAST_WORDS = 5.0


class Stream:
    """One socket. `on_data` gets what arrives; `on_close` is called once when the peer is gone, not after `close`."""

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        on_data: Callable[[bytes], object],
        on_close: Callable[[], object],
    ) -> None:
        sock.settimeout(0)
        self.open = True
        self.waiting = 0
        """Bytes that the peer has not taken yet."""
        self._sock = sock
        self._loop = loop
        self._on_data = on_data
        self._on_close = on_close
        self._queue: deque[bytes | memoryview] = deque()
        self._pauses: set[str] = set()
        self._relieved: Callable[[], object] | None = None
        self._reliefs = 0
        self._is_timed = False
        self._finishing = self._hears_out = False
        loop.watch(sock.fileno(), self._receive)

    def send(self, data: bytes) -> None:
        """Sends now what can be sent, the rest later."""
        if not self.open or self._finishing or self._hears_out or not data:
            return
        self._queue.append(data)
        self.waiting += len(data)
        if len(self._queue) == 1:
            self._flush()

    def pause(self, why: str) -> None:
        """Leaves what arrives in the system until `resume` has been called for each reason."""
        if self.open and not self._pauses:
            self._loop.when_readable(self._sock.fileno(), None)
        self._pauses.add(why)

    def resume(self, why: str) -> None:
        """Takes one reason back."""
        if why in self._pauses:
            self._pauses.remove(why)
            if self.open and not self._pauses and not self._finishing:
                self._loop.when_readable(self._sock.fileno(), self._receive)

    def when_relieved(self, callback: Callable[[], object], patience: float = 0.0) -> bool:
        """Whether too much is waiting; then calls back once when it no longer is.

        A peer that takes so little for so many seconds (twice as many at most) that it never is counts as gone.
        """
        if self.open and self.waiting > FULL:
            self._relieved = callback
            if patience and not self._is_timed:
                self._time(patience)
            return True
        return False

    def _time(self, patience: float) -> None:
        """One timer for all reliefs: who reads fast is relieved thousands of times meanwhile."""
        self._is_timed = True
        reliefs = self._reliefs

        def look() -> None:
            self._is_timed = False
            if self.open and self._relieved:
                if reliefs == self._reliefs:
                    self._lost()
                else:
                    self._time(patience)

        self._loop.later(patience, look)

    def finish(self) -> None:
        """Hangs up when all has been sent, or soon after; reads no more."""
        if not self.open or self._finishing:
            return
        self._finishing = True
        if not self._queue:
            self.close()
            return
        self.pause("finishing")
        self._loop.later(_LAST_WORDS, self.close)

    def hear_out(self, seconds: float) -> None:
        """Says no more, so that the peer hangs up, and takes what it has said until then; after `seconds` it is gone."""
        if self.open and not self._finishing and not self._hears_out:
            self._hears_out = True
            self._loop.later(seconds, self._lost)
            if not self._queue:
                self._fall_silent()

    def close(self) -> None:
        """Hangs up."""
        if self.open:
            self.open = False
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._queue.clear()

    def _fall_silent(self) -> None:
        with suppress(OSError):  # the peer has gone already, and is heard to the end
            self._sock.shutdown(socket.SHUT_WR)

    def _lost(self) -> None:
        if self.open:
            self.close()
            if not self._finishing:
                self._on_close()

    def _receive(self) -> None:
        if self.open and not self._pauses:
            try:
                self._read()
            except MemoryError:
                self._lost()  # it sends more than the device has memory for, which ends nobody else

    def _read(self) -> None:
        try:
            data = self._sock.recv(_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self._lost()

    def _flush(self) -> None:
        if not self.open:
            return
        try:
            while self._queue:
                self._sent(
                    self._sock.sendmsg(
                        [part for part, _ in zip(self._queue, range(_PARTS), strict=False)]
                    )
                )
        except BlockingIOError:
            self._loop.when_writable(self._sock.fileno(), self._flush)
            self._relieve()
            return
        except OSError:
            self._lost()
            return
        if self._finishing:
            self.close()
            return
        self._loop.when_writable(self._sock.fileno(), None)
        if self._hears_out:
            self._fall_silent()
        self._relieve()

    def _sent(self, count: int) -> None:
        self.waiting -= count
        while count:
            first = self._queue.popleft()
            if len(first) > count:
                self._queue.appendleft(memoryview(first)[count:])
                return
            count -= len(first)

    def _relieve(self) -> None:
        if self._relieved and self.waiting <= FULL // 4:
            callback, self._relieved = self._relieved, None
            self._reliefs += 1
            callback()
