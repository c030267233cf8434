"""What a reading of the node's memory means: pure. `memory_watch` takes readings and acts, `processes` reads /proc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from skerry.node.ports import Living

REASON = "memory of the node"
"""The exit reason of who was ended for it."""

HIGH = 0.90
"""Above this part of the limit it is told."""

CALM = 0.85
"""Below this part it is over, and told again the next time."""


class Reading(msgspec.Struct, frozen=True):
    """Bytes in use: by the agent and its keeper, and by each instance (its id)."""

    own: int
    instances: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return self.own + sum(self.instances.values())


class Meter(Protocol):
    """Measures memory. `processes.ProcMeter` adds up processes; one that asks control groups takes its place here."""

    def read(self, living: list[Living], keeper_pid: int | None, high: int) -> Reading:
        """What is in use now. Near or above `high` bytes it is exact, below it may be too much. Reads files."""
        ...


def is_high(total: int, limit: int, *, was_high: bool) -> bool:
    """Whether the node is short of it (memory or storage); once it is, until it is clearly below."""
    return total > limit * (CALM if was_high else HIGH)


def chosen(reading: Reading, living: list[Living], limit: int) -> Living | None:
    """Who is ended: the one that has most above its reservation; None while the limit holds.

    Nobody else is while one is being ended, whose memory is about to be free.
    """
    if reading.total <= limit or any(one.ending == REASON for one in living):
        return None
    there = [one for one in living if one.instance in reading.instances]
    return max(
        there,
        key=lambda one: (reading.instances[one.instance] - one.reserved, one.workload),
        default=None,
    )


def by_workload(reading: Reading, living: list[Living]) -> dict[str, int]:
    """The reading by workload, which may have two instances."""
    used: dict[str, int] = {}
    for one in living:
        used[one.workload] = used.get(one.workload, 0) + reading.instances.get(one.instance, 0)
    return used
