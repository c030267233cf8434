"""Each publisher's share of the node's store: who has more is held at the gate, and others go on.

What was acknowledged, or is in the gate's journal, is stored all the same: nothing that counts is dropped here. The gate
leaves out and counts what nobody can refuse (events with QoS 0), and refuses the rest that counts, or lets it wait.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

import msgspec

from skerry.core.cyberwave.filling import Filling
from skerry.gate.journal import SHARE
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.errors import Refused, Transient
from skerry.node.store.record_engine import KEPT
from skerry.wire.sync import Lane

_LOOK_AGAIN = 1.0
"""Seconds, while somebody is held."""

log = logging.getLogger(__name__)


class Gate(Protocol):
    """As `broker.link.GateLink`."""

    async def hold(self, workloads: Collection[str]) -> None: ...


class Room(msgspec.Struct, frozen=True):
    """What is left, in bytes: `records` for what counts, `files` for contents. How far the hub has each lane, and who is told.

    `tell` is called once for each publisher that is held, with words for people.
    """

    records: Callable[[], int]
    files: Callable[[], int]
    head: Callable[[Lane], int]
    acknowledged: Callable[[Lane], int]
    tell: Callable[[str, str], Awaitable[None]]


class Shares:
    """`follow` runs as long as the agent."""

    def __init__(self, room: Room, clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._records, self._files = Filling(SHARE), Filling(SHARE)
        self._added = Bell()
        self._said: frozenset[str] | None = frozenset()
        """Whom the gate was told to hold; None: it is not known whether it has heard it."""
        self._untold: set[str] = set()

    def has_files_full(self, source: str) -> bool:
        """Whether its contents are left out, but for those that count."""
        return source in self._files.full

    def has_records_full(self, source: str) -> bool:
        """Whether its records of the lanes `KEPT` are left out, but for those that count."""
        return source in self._records.full

    def stored(self, source: str, lane: Lane, size: int) -> None:
        """So many bytes of a publisher's have just been accepted by the lane."""
        if lane in KEPT:
            self._records.add(source, lane, self._room.head(lane), size)
            self._added.ring()

    def stored_file(self, source: str, size: int) -> None:
        """A content of so many bytes; the hub has it soon after the record that names it."""
        self._files.add(source, "event", self._room.head("event"), size)
        self._added.ring()

    async def follow(self, gate: Gate) -> None:
        """Tells the gate whom to hold, and when no more; for ever. Raises Refused, Transient."""
        seen = 0
        while True:
            seen = await self._added.after(seen)
            while True:
                self._untold |= self._judged()
                now = self._records.full | self._files.full
                if now != self._said:
                    self._said = None
                    await gate.hold(now)
                    self._said = now
                while self._untold:
                    await self._tell(self._untold.pop())
                if not now:
                    break
                await self._clock.sleep(_LOOK_AGAIN)

    def _judged(self) -> frozenset[str]:
        room = self._room
        before = self._records.full | self._files.full
        newly = self._records.judge(room.records(), room.acknowledged)
        newly |= self._files.judge(room.files(), room.acknowledged)
        return newly - before

    async def _tell(self, source: str) -> None:
        words = (
            f"«{source}» has published more than its share of what this node can keep for its hub: until that has taken "
            "some, what it wants acknowledged waits at the gate or is refused, and the rest is left out and counted"
        )
        log.warning("%s", words)
        try:
            await self._room.tell(source, words)
        except (Refused, Transient) as error:
            log.warning("cannot tell of it: %s", error)
