"""What clients publish is written to the journal before anybody else gets it, and once."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from skerry.gate.journal import DUP, GAP, HELD, KEPT, Journal, NoRoom
from skerry.gate.packets import Publish
from skerry.gate.topics import Scope, is_kept

_REMEMBERED = 1000
"""Messages of a token."""

_TOKENS = 100
_MOST_GAPS = 50
"""Topics of a token whose misses are counted each by itself."""

_Gap = tuple[int, str]
"""A token's number, and the workload where that was held for it; else the journal had no room."""

_Sent = OrderedDict[tuple[str, int], tuple[int, int]]


class Capture:
    """The journal as clients use it. `on_taken` is called after each entry, `on_full` when a token's share is full.

    It is full until half of it is free again: so long it is told once, and then what was missed meanwhile.
    """

    def __init__(self, journal: Journal) -> None:
        self.on_taken: Callable[[], object] = lambda: None
        self.on_full: Callable[[Scope], object] = lambda _: None
        self.held: frozenset[str] = frozenset()
        """Workloads of which nothing that counts is taken: the agent could not keep it. What nobody can refuse is left out."""
        self._journal = journal
        self._recent: OrderedDict[int, _Sent] = OrderedDict()
        self._gaps: dict[_Gap, dict[str, int]] = {}
        self._hungry: dict[int, Callable[[], object]] = {}

    @property
    def stored(self) -> int:
        """Up to here the agent has everything."""
        return self._journal.stored

    def take(self, client: str, scope: Scope, message: Publish) -> int:
        """Writes a message and returns its number; 0 for one that is left out and counted.

        These have QoS 0: samples that there was no room for, and events of who is held, for a client that waited with one
        until the hub has taken some would be taken for dead. Raises NoRoom for every other message that has no room.
        What a client sends again after a reconnection has its first number.
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
            if message.qos:
                raise NoRoom
            self.miss(scope, message.topic)
            return 0
        full = (scope.number, "")
        flags = message.qos | (DUP if message.dup else 0) | (KEPT if kept else 0)
        try:
            for each in (full, (scope.number, scope.workload)):
                self._tell_gaps(each)
            n = self._journal.append(flags, scope.number, message.topic, message.payload)
        except NoRoom:
            if full not in self._gaps:
                self._gaps[full] = {}
                self.on_full(scope)
            if message.qos or kept:
                raise
            self._miss(full, message.topic)
            return 0
        if message.qos:
            recent[sent] = (digest, n)
            recent.move_to_end(sent)
            if len(recent) > _REMEMBERED:
                recent.popitem(last=False)
        self.on_taken()
        return n

    def miss(self, scope: Scope, topic: str) -> None:
        """Counts a message that is left out; the journal tells when there is room again, and of who is held afterwards."""
        self._miss((scope.number, scope.workload if scope.workload in self.held else ""), topic)

    def _miss(self, of: _Gap, topic: str) -> None:
        gaps = self._gaps.setdefault(of, {})
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
        self._go_on()

    def discard(self, n: int) -> None:
        """The agent has stored everything up to `n`."""
        self._journal.discard(n)
        self._go_on()

    def _go_on(self) -> None:
        for each in list(self._gaps):
            with suppress(NoRoom):
                self._tell_gaps(each)
        for callback in list(self._hungry.values()):
            callback()

    def _tell_gaps(self, of: _Gap) -> None:
        """Of a token that has room again. Not sooner: at the brink a few fit and more do not, again and again."""
        gaps = self._gaps.get(of)
        token, held = of
        if gaps is None or held in self.held or not self._journal.is_roomy_for(token):
            return
        while gaps:
            topic, count = next(iter(gaps.items()))
            self._journal.append(GAP | (HELD if held else 0), token, topic, b"%d" % count)
            del gaps[topic]
            self.on_taken()
        del self._gaps[of]

    def _recent_of(self, token: int) -> _Sent:
        """Each token's own: none makes the gate forget what another one has sent."""
        recent = self._recent.setdefault(token, OrderedDict())
        self._recent.move_to_end(token)
        if len(self._recent) > _TOKENS:
            self._recent.popitem(last=False)
        return recent
