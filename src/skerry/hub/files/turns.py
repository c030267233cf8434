"""Whose word counts of what a content consists of, when two nodes say different things. In memory, for one process.

Which of them is right shows only at the end, by the hash of the whole. Until then the node goes on whose bytes have been
what was said last; when it stops, or sends something else itself, the next one is believed.
"""

from __future__ import annotations

from collections import OrderedDict

from skerry.kit.clock import NS, Clock

TURN = 60 * NS
"""For so long after its last right bytes nobody else ends a node's turn."""

_REMEMBERED = 1024


class Turns:
    """By content. Only `files.arrivals` uses it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def took(self, sha256: str, node_id: str) -> None:
        """Bytes of this node were what was said of them."""
        self._taken.pop(sha256, None)
        self._taken[sha256] = node_id, self._clock.monotonic_ns()
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    def disagrees(self, sha256: str, node_id: str) -> bool:
        """Bytes of this node were not; whether what was said must go. A node's own first slip is none of that."""
        holder, at = self._taken.get(sha256, ("", 0))
        if holder not in {"", node_id} and self._clock.monotonic_ns() - at < TURN:
            return False
        self._taken.pop(sha256, None)
        return holder != node_id
