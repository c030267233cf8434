"""What clients publish is written to the journal before anybody else gets it, and once."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from skerry.gate.journal import DUP, GAP, KEPT, Journal, NoRoom
from skerry.gate.packets import Publish
from skerry.gate.topics import Scope, is_kept

_REMEMBERED = 1000
_MOST_GAPS = 1000


class Capture:
    """The journal as clients use it. `on_taken` is called after each entry."""

    def __init__(self, journal: Journal) -> None:
        self.on_taken: Callable[[], object] = lambda: None
        self._journal = journal
        self._recent: OrderedDict[tuple[str, int], tuple[int, int]] = OrderedDict()
        self._gaps: dict[tuple[int, str], int] = {}
        self._hungry: dict[int, Callable[[], object]] = {}

    @property
    def stored(self) -> int:
        """Up to here the agent has everything."""
        return self._journal.stored

    def take(self, client: str, scope: Scope, message: Publish) -> int:
        """Writes a message and returns its number; 0 for a sample that there was no room for, which is counted.

        Raises NoRoom for every other message. What a client sends again after a reconnection has its first number.
        """
        sent = (client, message.packet_id)
        digest = (
            zlib.crc32(message.payload, zlib.crc32(message.topic.encode())) if message.qos else 0
        )
        known = self._recent.get(sent) if message.qos and message.dup else None
        if known and known[0] == digest:
            return known[1]
        kept = is_kept(scope, message.topic)
        flags = message.qos | (DUP if message.dup else 0) | (KEPT if kept else 0)
        try:
            if self._gaps and self._journal.fits(message.topic, message.payload):
                self._write_gaps()
            n = self._journal.append(flags, scope.number, message.topic, message.payload)
        except NoRoom:
            if message.qos or kept:
                raise
            self.miss(scope, message.topic)
            return 0
        if message.qos:
            self._recent[sent] = (digest, n)
            self._recent.move_to_end(sent)
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        self.on_taken()
        return n

    def miss(self, scope: Scope, topic: str) -> None:
        """Counts a message that there was no room for; the journal tells when there is room again."""
        key = (scope.number, topic)
        if key not in self._gaps and len(self._gaps) >= _MOST_GAPS:
            key = (scope.number, "")
        self._gaps[key] = self._gaps.get(key, 0) + 1

    def tell(self, key: int, callback: Callable[[], object]) -> None:
        """Calls back whenever the agent has stored something, until `untell`."""
        self._hungry[key] = callback

    def untell(self, key: int) -> None:
        """No more."""
        self._hungry.pop(key, None)

    def discard(self, n: int) -> None:
        """The agent has stored everything up to `n`."""
        self._journal.discard(n)
        if self._gaps and self._journal.is_roomy:
            with suppress(NoRoom):
                self._write_gaps()
        for callback in list(self._hungry.values()):
            callback()

    def _write_gaps(self) -> None:
        while self._gaps:
            (number, topic), count = next(iter(self._gaps.items()))
            self._journal.append(GAP, number, topic, b"%d" % count)
            del self._gaps[number, topic]
            self.on_taken()
