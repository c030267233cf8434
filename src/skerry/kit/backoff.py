"""Delays between tries: exponential with full jitter, as a value and a pure step."""

from __future__ import annotations

import random

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Delays of `first` × `factor`ⁿ seconds up to `cap`; `jitter` is the share that chance may take away."""

    first: float
    cap: float
    factor: float = 2.0
    jitter: float = 0.5

    def delay(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait after the given number of failures in a row (0 or 1: the first delay)."""
        return self.at(failures, chance.random())

    def at(self, failures: int, chance: float) -> float:
        """As `delay`, for pure callers: `chance` is a number from 0 to 1 that somebody has drawn."""
        exponent = min(max(failures - 1, 0), 64)
        full = min(self.cap, self.first * self.factor**exponent)
        return full * (1 - self.jitter * chance)
