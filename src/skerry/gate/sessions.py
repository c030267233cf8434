"""What the broker keeps for clients: their filters, and sessions that outlive a connection. Each token has a part of both.

The broker itself knows no tokens, and bounds neither: one client could have it fill its memory, and end it for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from skerry.gate import SESSION_SECONDS
from skerry.gate.fields import Fields, properties_of
from skerry.gate.packets import Connect

_EXPIRY = 0x11

MOST_LASTING = 16
"""Sessions of a token that outlive their connections; of the others it has as many as connections."""

MOST_FILTERS = 5000
"""Of all sessions of a token, each filter counted once in each."""


_LATE = 10.0
"""Seconds within which the broker has noticed that a session's time is over."""


class Session:
    """One client's, as the broker has it. `seconds` it outlives the connection, at most."""

    __slots__ = ("filters", "seconds", "until")

    def __init__(self, seconds: int) -> None:
        self.filters: set[str] = set()
        self.seconds = seconds
        self.until = float("inf")

    @property
    def lasts(self) -> bool:
        """Whether it outlives the connection."""
        return self.seconds > 0

    def leave(self, farewell: bytes) -> None:
        """Its client says goodbye, and perhaps for how long now: by the body of a DISCONNECT. Raises Malformed."""
        fields = Fields(farewell[1:])
        seconds = _expiry(fields.property_bytes()) if fields.left else None
        if self.lasts and seconds is not None:  # what was to end with the connection cannot last
            self.seconds = seconds


class Sessions:
    """Those of all tokens."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._of: dict[str, dict[str, Session]] = {}

    def open(self, token: str, client: str, asked: Connect) -> Session | None:
        """The session of a client that signs in, or goes on with its own; None: of such that last the token has too many."""
        self._forget_ended()
        own = self._of.setdefault(token, {})
        session = Session(_seconds(asked))
        lasting = sum(each.lasts for name, each in own.items() if name != client)
        if session.lasts and lasting >= MOST_LASTING:
            return None
        if client in own and not asked.clean:
            session.filters = own[client].filters
        own[client] = session
        return session

    def add(self, token: str, session: Session, filters: Iterable[str]) -> bool:
        """Whether the token may have these filters, too; then the session has them."""
        new = session.filters.union(filters)
        of_all = sum(len(each.filters) for each in self._of.get(token, {}).values())
        if len(new) - len(session.filters) + of_all > MOST_FILTERS:
            return False
        session.filters = new
        return True

    def close(self, token: str, client: str, session: Session) -> None:
        """Its connection has ended. Does nothing for one that another connection has taken over."""
        own = self._of.get(token, {})
        if own.get(client) is session:
            session.until = self._monotonic() + (session.seconds + _LATE if session.lasts else 0.0)
            self._forget_ended()

    def _forget_ended(self) -> None:
        now = self._monotonic()
        for token, own in list(self._of.items()):
            for client in [client for client, each in own.items() if each.until <= now]:
                del own[client]
            if not own:
                del self._of[token]


def _seconds(asked: Connect) -> int:
    """How long it asks for a session to outlive its connection, as far as the broker heeds that."""
    if asked.level != 5:
        return 0 if asked.clean else SESSION_SECONDS
    return _expiry(asked.properties) or 0


def _expiry(properties: bytes) -> int | None:
    for number, start, end in properties_of(properties):
        if number == _EXPIRY:
            return min(int.from_bytes(properties[start + 1 : end], "big"), SESSION_SECONDS)
    return None
