"""What the broker keeps for clients: their filters, and sessions that outlive a connection. Each token has a part of both.

The broker itself knows no tokens, and bounds neither: one client could have it fill its memory, and end it for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from skerry.gate import SESSION_SECONDS
from skerry.gate.fields import properties_of
from skerry.gate.packets import Connect

_EXPIRY = 0x11

MOST_LASTING = 16
"""Sessions of a token that outlive their connections; of the others it has as many as connections."""

MOST_FILTERS = 5000
"""Of all sessions of a token, each filter counted once in each."""


class Session:
    """One client's, as the broker has it. `lasts` says whether it outlives the connection."""

    __slots__ = ("filters", "lasts", "until")

    def __init__(self, *, lasts: bool) -> None:
        self.filters: set[str] = set()
        self.lasts = lasts
        self.until = float("inf")


class Sessions:
    """Those of all tokens."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._of: dict[str, dict[str, Session]] = {}

    def open(self, token: str, client: str, asked: Connect) -> Session | None:
        """The session of a client that signs in, or goes on with its own; None: of such that last the token has too many."""
        self._forget_ended()
        own = self._of.setdefault(token, {})
        session = Session(lasts=_lasts(asked))
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
            session.until = self._monotonic() + (SESSION_SECONDS if session.lasts else 0.0)
            self._forget_ended()

    def _forget_ended(self) -> None:
        now = self._monotonic()
        for token, own in list(self._of.items()):
            for client in [client for client, each in own.items() if each.until <= now]:
                del own[client]
            if not own:
                del self._of[token]


def _lasts(asked: Connect) -> bool:
    """Whether it asks for a session that outlives its connection."""
    if asked.level != 5:
        return not asked.clean
    return any(
        number == _EXPIRY and any(asked.properties[start + 1 : end])
        for number, start, end in properties_of(asked.properties)
    )
