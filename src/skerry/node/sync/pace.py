"""How often the hub is asked, and how what it refuses is tried again: the settings of sync as its loops need them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import msgspec

from skerry.kit.backoff import Backoff
from skerry.node.node_settings import SyncSection
from skerry.wire.records import Meta, Value

SAFETY_EVERY = 600.0
"""Seconds; news and hellos ring long before. A pull costs 4 KB with its TLS: it is most of an idle month."""

REFUSED = Backoff(first=30.0, cap=3600.0, jitter=0.1)


class Pace(msgspec.Struct, frozen=True):
    """`refused` delays what the hub does not take; after `attempts` in a row it is parked.

    What is parked is kept, and tried again when the schedule (`pull_every`, in seconds) or a new connection comes; a
    schedule that is shorter than the last delay is no reason to hurry.
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
        if self.has_failed(refusals):
            return max(self.pull_after(chance), self.refused.delay(self.attempts, chance))
        return self.refused.delay(refusals, chance)

    def has_failed(self, refusals: int) -> bool:
        """Whether what was refused so often in a row is parked, which people should hear of."""
        return refusals >= self.attempts


Tell = Callable[[str, Value, Meta], Awaitable[None]]
"""Writes an event of the node's own: its name, its text, and more."""

PARKED, RESUMED = "skerry.sync.parked", "skerry.sync.resumed"
CONFLICT, REPAIRED = "skerry.sync.conflict", "skerry.sync.repaired"


async def untold(_name: str, _value: Value, _meta: Meta) -> None:
    """Where nobody is told."""
