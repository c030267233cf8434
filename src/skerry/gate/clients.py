"""All clients: who may come in, how many, and who has to go when its token ends."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from skerry.gate import packets
from skerry.gate.client import SIGN_IN_SECONDS, Client
from skerry.gate.journal import SHARE
from skerry.gate.strangers import Strangers
from skerry.gate.surroundings import Surroundings

MOST = 450
"""Of those that have signed in; of one token as many as twice what all of them leave free, 300 of one alone."""

MOST_STRANGERS = 512
"""Of those that have not signed in yet."""


class Clients:
    """The connections of clients. `on_change` is called when their number has changed."""

    def __init__(self, around: Surroundings, monotonic: Callable[[], float]) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self._around = around
        self._strangers = Strangers(MOST_STRANGERS, SIGN_IN_SECONDS, around.loop, monotonic)
        self._known: set[Client] = set()
        self._of_token: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def welcome(self, sock: socket.socket) -> None:
        """A connection has been accepted. Raises OSError if it is gone, or nothing more can be watched."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = str(sock.getpeername()[0])
        client = Client(sock, self._around, self.admits, self.left)
        self._strangers.enter(client, address, lambda: client.end(packets.UNAVAILABLE))

    def admits(self, client: Client) -> bool:
        """Whether there is room for one more with its token; it is counted then."""
        if client.holder is None:
            return False
        digest = client.holder.digest
        if self._of_token[digest] + 1 > SHARE * (MOST - len(self._known) - 1):
            return False
        self._strangers.leave(client)
        self._known.add(client)
        self._of_token[digest] += 1
        self.on_change()
        return True

    def left(self, client: Client) -> None:
        """A client is gone."""
        self._strangers.leave(client)
        if client in self._known and client.holder:
            self._known.remove(client)
            self._of_token[client.holder.digest] -= 1
            self._of_token += (
                Counter()
            )  # forgets who has none: each start of a container has a token of its own
            self.on_change()

    def kick(self, digest: str) -> int:
        """Ends the connections of a token and returns how many."""
        gone = [
            client for client in self._known if client.holder and client.holder.digest == digest
        ]
        for client in gone:
            client.end(packets.NOT_AUTHORIZED)
        return len(gone)

    def look_at_tokens(self) -> None:
        """The tokens have changed: who has less now must come again, who has none cannot."""
        for client in list(self._known):
            if client.holder is None:
                continue
            scope = self._around.tokens.scope_of(client.holder.digest)
            if scope is not None and scope.covers(client.holder.scope):
                client.rescope(scope)
            else:
                client.end(packets.NOT_AUTHORIZED)
