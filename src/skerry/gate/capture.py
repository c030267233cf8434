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
"""Messages of a token."""

_TOKENS = 100
_MOST_GAPS = 50
"""Topics of a token whose misses are counted each by itself."""

_Sent = OrderedDict[tuple[str, int], tuple[int, int]]


class Capture:
    """The journal as clients use it. `on_taken` is called after each entry, `on_full` when a token's share is full.

    It is full until half of it is free again: so long it is told once, and then what was missed meanwhile.
    """

    def __init__(self, journal: Journal) -> None:
        self.on_taken: Callable[[], object] = lambda: None
        self.on_full: Callable[[Scope], object] = lambda _: None
        self.held: frozenset[str] = frozenset()
        """Workloads of which nothing that counts is taken: the agent could not keep it."""
        self._journal = journal
        self._recent: OrderedDict[int, _Sent] = OrderedDict()
        self._gaps: dict[int, dict[str, int]] = {}
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
        recent = self._recent_of(scope.number) if message.qos else OrderedDict()
        known = recent.get(sent) if message.dup else None
        if known and known[0] == digest:
            return known[1]
        kept = is_kept(scope, message.topic)
        if scope.workload in self.held and (message.qos or kept):
            raise NoRoom
        flags = message.qos | (DUP if message.dup else 0) | (KEPT if kept else 0)
        try:
            self._tell_gaps(scope.number)
            n = self._journal.append(flags, scope.number, message.topic, message.payload)
        except NoRoom:
            if scope.number not in self._gaps:
                self._gaps[scope.number] = {}
                self.on_full(scope)
            if message.qos or kept:
                raise
            self.miss(scope, message.topic)
            return 0
        if message.qos:
            recent[sent] = (digest, n)
            recent.move_to_end(sent)
            if len(recent) > _REMEMBERED:
                recent.popitem(last=False)
        self.on_taken()
        return n

    def miss(self, scope: Scope, topic: str) -> None:
        """Counts a message that there was no room for; the journal tells when there is room again."""
        gaps = self._gaps.setdefault(scope.number, {})
        key = topic if topic in gaps or len(gaps) < _MOST_GAPS else ""
        gaps[key] = gaps.get(key, 0) + 1

    def tell(self, key: int, callback: Callable[[], object]) -> None:
        """Calls back whenever the agent has stored something, until `untell`."""
        self._hungry[key] = callback

    def untell(self, key: int) -> None:
        """No more."""
        self._hungry.pop(key, None)

    def hold(self, workloads: frozenset[str]) -> None:
        """From now on these are held, and no others."""
        self.held = workloads
        self._call_back()

    def discard(self, n: int) -> None:
        """The agent has stored everything up to `n`."""
        self._journal.discard(n)
        for token in list(self._gaps):
            with suppress(NoRoom):
                self._tell_gaps(token)
        self._call_back()

    def _call_back(self) -> None:
        for callback in list(self._hungry.values()):
            callback()

    def _tell_gaps(self, token: int) -> None:
        """Of a token that has room again. Not sooner: at the brink a few fit and more do not, again and again."""
        gaps = self._gaps.get(token)
        if gaps is None or not self._journal.is_roomy_for(token):
            return
        while gaps:
            topic, count = next(iter(gaps.items()))
            self._journal.append(GAP, token, topic, b"%d" % count)
            del gaps[topic]
            self.on_taken()
        del self._gaps[token]

    def _recent_of(self, token: int) -> _Sent:
        """Each token's own: none makes the gate forget what another one has sent."""
        recent = self._recent.setdefault(token, OrderedDict())
        self._recent.move_to_end(token)
        if len(self._recent) > _TOKENS:
            self._recent.popitem(last=False)
        return recent
