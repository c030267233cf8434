"""Programs of the device that would like to have somebody else's port."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Self

from tests.closing import Closes
from tests.gate_rig import until

TAKEN = {errno.EADDRINUSE}
"""The outcomes of a stranger that never had the address."""


class Stranger(Closes):
    """Another program of this user that tries to get an address, again and again, with all that Linux has for that."""

    def __init__(self, host: str, port: int) -> None:
        self.outcomes: set[int] = set()
        """0: it has had the address."""
        self.tries = 0
        self._name = (host, port)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._try, daemon=True)
        self._thread.start()

    def _try(self) -> None:
        while not self._enough.is_set():
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                try:
                    sock.bind(self._name)
                    sock.listen()
                except OSError as error:
                    self.outcomes.add(error.errno or -1)
                else:
                    self.outcomes.add(0)
            self.tries += 1

    def again(self) -> Self:
        """What it tries from now on counts."""
        before = self.tries
        until(lambda: self.tries > before + 1, "it has tried")
        return self

    def close(self) -> None:
        self._enough.set()
        self._thread.join()


def is_free(host: str, port: int) -> bool:
    """Whether anybody may listen there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True
