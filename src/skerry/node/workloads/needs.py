"""What a workload needs on this device before it can be started: now its image, later models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from skerry.kit.bell import Bell
from skerry.wire.workload import Assignment


class Needs(Protocol):
    """Fetches what the wanted workloads need, and says what is still missing."""

    changed: Bell
    """Rings when an answer of `missing` may have changed."""

    def want(self, assignments: Iterable[Assignment]) -> None:
        """From now on the needs of these assignments, and of no others, are fetched."""
        ...

    def missing(self, assignment: Assignment) -> str:
        """Why it cannot be started yet, for people; empty when nothing is missing."""
        ...

    async def close(self) -> None:
        """Ends what is under way; what has been fetched stays."""
        ...


class NothingNeeded:
    """Implements `Needs` where workloads are native processes only."""

    def __init__(self) -> None:
        self.changed = Bell()

    def want(self, assignments: Iterable[Assignment]) -> None:
        """Nothing to fetch."""

    def missing(self, assignment: Assignment) -> str:  # noqa: ARG002 - the protocol's
        return ""

    async def close(self) -> None:
        """Nothing is under way."""
