"""Which samples are kept, and as what. Pure: times come in."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from skerry.kit.patterns import matches
from skerry.runners.zenoh.keys import Key, key_of
from skerry.wire.data_bus import ONE_FILE, ChannelRule

MAX_CHANNELS = 1024
"""Whoever is on the bus may name channels; each costs memory."""


class Pace:
    """Takes at most `rate` samples a second (0: all), evenly. `left` counts those since the last one that was taken."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate if rate else 0.0
        self._due = -math.inf
        self._left = 0

    def takes(self, now: float) -> bool:
        """Whether one that comes at `now` (seconds, monotonic) is taken."""
        if now < self._due:
            self._left += 1
            return False
        # One that comes a little late moves none of those after it.
        self._due = self._step + (self._due if now - self._due < self._step else now)
        return True

    def left(self) -> int:
        """How many were left out; begins anew."""
        left, self._left = self._left, 0
        return left


class Channel:
    """One channel of a twin that something is kept of."""

    def __init__(self, key: Key, kept: ChannelRule | None, ring: ChannelRule | None) -> None:
        self.key = key
        self.name = str(key)
        self.kept = kept
        self.ring = ring
        rate = kept.rate if kept else 0.0
        self.pace = Pace(rate)
        self.file_pace = Pace(rate or ONE_FILE)
        """For what turns out to be too large for a record."""
        self.ring_pace = Pace(ring.rate if ring else 0.0)


class Channels:
    """Those of `twins` that a rule fits. `told` hears, once, that there are too many."""

    def __init__(
        self, rules: Sequence[ChannelRule], twins: Collection[str], told: Callable[[str], None]
    ) -> None:
        self._rules = rules
        self._twins = frozenset(twins)
        self._told = told
        self._known: dict[str, Channel | None] = {}
        self._full = False

    def of(self, expression: str) -> Channel | None:
        """The channel of a key expression; None: nothing of it is kept."""
        if expression in self._known:
            return self._known[expression]
        if len(self._known) >= MAX_CHANNELS:
            if not self._full:
                self._full = True
                self._told(
                    f"nothing is recorded of {expression[:200]} and any other new channel: there are {MAX_CHANNELS}"
                )
            return None
        found = self._judge(key_of(expression))
        self._known[expression] = found
        return found

    def _judge(self, key: Key | None) -> Channel | None:
        if key is None or key.twin not in self._twins:
            return None
        fitting = [rule for rule in self._rules if matches(rule.keys, str(key))]
        kept = next((rule for rule in fitting if rule.kept != "ring"), None)
        ring = next((rule for rule in fitting if rule.kept == "ring"), None)
        if kept and kept.kept == "off":
            kept = None
        return Channel(key, kept, ring) if kept or ring else None
