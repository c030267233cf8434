"""Makes a recording of the ring when an event is recorded on this node: the last minutes before it, as one file."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from skerry import sdk
from skerry.kit.errors import SkerryError
from skerry.kit.patterns import matches
from skerry.runners.zenoh.endings import say
from skerry.runners.zenoh.keys import key_of
from skerry.runners.zenoh.recorder import Waiting, patiently
from skerry.runners.zenoh.recording import Recording
from skerry.runners.zenoh.ring import Piece, Ring
from skerry.wire.data_bus import ChannelRule

APART = 10.0
"""Seconds: what happens sooner after an event that was recorded adds nothing to its recording."""

WAITING = 2
"""Recordings that are not handed over yet; their pieces stay on the disk."""


class _Order(NamedTuple):
    name: str
    recording: Recording
    pieces: Sequence[Piece]
    at: int
    event: str


class Events:
    """`rules` are the ring's."""

    def __init__(
        self,
        ring: Ring,
        rules: Sequence[ChannelRule],
        twins: Collection[str],
        seconds: Callable[[], float],
    ) -> None:
        self._ring = ring
        self._rules = rules
        self._twins = twins
        self._seconds = seconds
        self._last: dict[tuple[str, str], float] = {}
        """When there was something to record: of a twin, by the rule of these keys."""
        self._made: Waiting[_Order] = Waiting(WAITING)

    def start(self) -> None:
        """Begins to listen, from now on."""
        for body in (self._listen, self._upload):
            threading.Thread(target=body, name=body.__name__, daemon=True).start()

    def happened(self, name: str, at: int) -> None:
        """An event record of this name and time (ns since 1970)."""
        twin = next((twin for twin in self._twins if twin in name), "")
        now = self._seconds()
        patterns = [
            rule.keys
            for rule in self._rules
            if matches(rule.on, name) and now - self._last.get((twin, rule.keys), -APART) >= APART
        ]
        if not patterns:
            return

        def fits(channel: str) -> bool:
            key = key_of(channel)
            ours = not twin or (key is not None and key.twin == twin)
            return ours and any(matches(pattern, channel) for pattern in patterns)

        pieces = self._ring.cut(fits)
        if not pieces:
            return
        self._last |= dict.fromkeys(((twin, pattern) for pattern in patterns), now)
        recording = Recording(pieces, {"event": name, "event_at": at}, at)
        order = _Order(
            f"cw/{twin}/recording.tar" if twin else "cw/recording.tar", recording, pieces, at, name
        )
        if not self._made.put(1, order):
            say(f"no recording of event {name}: {WAITING} others wait for the node")
            self._ring.release(pieces)

    def _listen(self) -> None:
        patterns = {rule.on for rule in self._rules}
        for row in sdk.subscribe(patterns.pop() if len(patterns) == 1 else "*", kind="event"):
            self.happened(row.name, row.at)

    def _upload(self) -> None:
        while True:
            [order] = self._made.take(1)
            try:
                hand_in(order)
            except (SkerryError, OSError) as error:
                say(f"no recording of event {order.event}: {error}")
            finally:
                self._ring.release(order.pieces)


def hand_in(order: _Order) -> None:
    """Returns when the node has it."""
    samples = collections.Counter[str]()
    for piece in order.pieces:
        samples[piece.channel] += piece.count
    meta: sdk.Meta = {
        "event": order.event,
        "format": "cyberwave recording 1",
        "samples": samples.total(),
        "channels": " ".join(order.recording.channels)[:1024],
        "start": int(min(piece.first for piece in order.pieces) * 1e9),
        "end": int(max(piece.last for piece in order.pieces) * 1e9),
    }
    patiently(lambda: sdk.upload(order.recording.open, name=order.name, meta=meta, at=order.at), "")
