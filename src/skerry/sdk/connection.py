"""HTTP over a UNIX socket, and what an error answer means to a caller."""

from __future__ import annotations

import http.client
import socket

import msgspec

from skerry.kit.errors import InvalidInput, NotFound, Refused, SkerryError, StorageFull, Transient
from skerry.wire.people import Problem

_ERRORS: dict[int, type[SkerryError]] = {404: NotFound, 409: Refused, 507: StorageFull}


class NodeConnection(http.client.HTTPConnection):
    """A connection to the node. `timeout` (seconds, None: for ever) holds for each single read and write."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Opens the socket; http.client calls this when it needs to."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __del__(self) -> None:
        """A workload's author never closes anything."""
        self.close()


def raise_for(status: int, body: bytes) -> None:
    """Raises the error that an answer stands for; an answer below 400 is none."""
    if status < 400:
        return
    try:
        text = msgspec.json.decode(body, type=Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = f"the node answered {status}"
    kind = _ERRORS.get(status, InvalidInput if status < 500 else Transient)
    raise kind(text)
