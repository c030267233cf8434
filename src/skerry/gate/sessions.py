"""What the broker keeps for a client in its memory: a session while it is away, and what it has subscribed to."""

from __future__ import annotations

from collections import OrderedDict

from skerry.gate.fields import Fields
from skerry.gate.packets import Connect, ephemeral, persists

MOST_SESSIONS = 16
"""Of a token, that outlast their connections."""

MOST_FILTERS, MOST_BYTES = 1000, 128 * 1024
"""Of a session."""

_TOKENS = 100


class Filters:
    """What one session has subscribed to."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._size = 0

    def take(self, topic: str) -> bool:
        """Whether there is room for one more."""
        if topic in self._held:
            return True
        if len(self._held) == MOST_FILTERS or self._size + len(topic) > MOST_BYTES:
            return False
        self._held.add(topic)
        self._size += len(topic)
        return True

    def leave(self, body: bytes, level: int) -> None:
        """What an UNSUBSCRIBE names. Raises Malformed."""
        fields = Fields(body)
        fields.two()
        if level == 5:
            fields.property_bytes()
        while fields.left:
            topic = fields.text()
            if topic in self._held:
                self._held.remove(topic)
                self._size -= len(topic)


class Sessions:
    """Those that outlast their connections, by token and name at the broker."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, dict[str, Filters]] = OrderedDict()

    def begun(self, token: str, name: str, asked: Connect) -> tuple[Connect, Filters]:
        """What the broker is asked for, and what counts its filters. Beyond so many, a session ends with its connection."""
        names = self._of.setdefault(token, {})
        self._of.move_to_end(token)
        if len(self._of) > _TOKENS:
            self._of.popitem(last=False)
        if name in names and asked.clean:
            names[name] = Filters()
        elif name not in names and persists(asked):
            if len(names) == MOST_SESSIONS:
                return ephemeral(asked), Filters()
            names[name] = Filters()
        return asked, names.get(name) or Filters()
