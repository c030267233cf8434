"""How often the hub is asked, and how what it refuses is tried again: the settings of sync as its loops need them."""

from __future__ import annotations

import random

import msgspec

from skerry.kit.backoff import Backoff
from skerry.node.node_settings import SyncSection

SAFETY_EVERY = 600.0
"""Seconds; news and hellos ring long before. A pull costs 1 KB: at 60 s it would be most of an idle month."""

REFUSED = Backoff(first=30.0, cap=3600.0, jitter=0.1)


class Pace(msgspec.Struct, frozen=True):
    """`refused` delays what the hub does not take; after `attempts` in a row it counts as failed, and is tried on.

    What is refused stays what it is, so it is tried ever more rarely, and never dropped. `pull_every` is in seconds.
    """

    pull_every: float = SAFETY_EVERY
    attempts: int = 5
    refused: Backoff = REFUSED

    @classmethod
    def of(cls, sync: SyncSection) -> Pace:
        """The pace that the settings ask for."""
        retry = sync.retry
        refused = Backoff(retry.initial_delay, retry.max_delay, retry.backoff_factor, jitter=0.1)
        return cls(sync.sync_interval, retry.max_attempts, refused)

    def pull_after(self, chance: random.Random) -> float:
        """Seconds until the next pull that nobody rings for: a tenth more or less, so that nodes are not in step."""
        return self.pull_every * chance.uniform(0.9, 1.1)

    def delay(self, refusals: int, chance: random.Random) -> float:
        """Seconds to wait after so many refusals in a row."""
        return self.refused.delay(refusals, chance)

    def has_failed(self, refusals: int) -> bool:
        """Whether so many refusals in a row are a failure that people should hear of."""
        return refusals >= self.attempts
