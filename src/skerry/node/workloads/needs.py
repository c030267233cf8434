"""What a workload needs on this device before it can be started: its image, its scripts, its models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    async def check(self, assignment: Assignment) -> None:
        """A last look before a start. Raises Transient when something is missing after all."""
        ...

    async def close(self) -> None:
        """Ends what is under way; what has been fetched stays."""
        ...


class AllNeeds:
    """Several needs as one: nothing is missing when none of them misses anything. Its bell becomes theirs."""

    def __init__(self, parts: Sequence[Needs]) -> None:
        self.changed = Bell()
        self._parts = parts
        for part in parts:
            part.changed = self.changed

    def want(self, assignments: Iterable[Assignment]) -> None:
        wanted = list(assignments)
        for part in self._parts:
            part.want(wanted)

    def missing(self, assignment: Assignment) -> str:
        return "; ".join(filter(None, (part.missing(assignment) for part in self._parts)))

    async def check(self, assignment: Assignment) -> None:
        for part in self._parts:
            await part.check(assignment)

    async def close(self) -> None:
        for part in self._parts:
            await part.close()
