"""The models' needs of a node that may never have any: the rest is loaded with the first workload that names a model.

Most nodes have no models, and what fetches them would stay in the agent's memory for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.kit.bell import Bell
from skerry.wire.models import ModelCache
from skerry.wire.workload import Assignment

if TYPE_CHECKING:
    from skerry.node.models.fetching import ModelNeeds


class ModelsOnDemand:
    """Implements `workloads.needs.Needs`; `build` loads and makes the `ModelNeeds` that does the work."""

    def __init__(self, root: Path, limit: int, build: Callable[[], ModelNeeds]) -> None:
        self.changed = Bell()
        self._root = root
        self._limit = limit
        self._build = build
        self._needs: ModelNeeds | None = None

    def want(self, assignments: Iterable[Assignment]) -> None:
        wanted = list(assignments)
        if self._needs is None and (any(one.models for one in wanted) or self._root.exists()):
            self._needs = self._build()
            self._needs.changed = self.changed
        if self._needs is not None:
            self._needs.want(wanted)

    def missing(self, assignment: Assignment) -> str:
        return "" if self._needs is None else self._needs.missing(assignment)

    async def check(self, assignment: Assignment) -> None:
        if self._needs is not None:
            await self._needs.check(assignment)

    def evictable(self) -> int:
        """As `ModelNeeds.evictable`."""
        return 0 if self._needs is None else self._needs.evictable()

    async def evict(self, size: int) -> int:
        """As `ModelNeeds.evict`."""
        return 0 if self._needs is None else await self._needs.evict(size)

    async def cache(self) -> ModelCache:
        """As `ModelNeeds.cache`."""
        if self._needs is None:
            return ModelCache([], self._limit, 0, 0)
        return await self._needs.cache()

    async def close(self) -> None:
        if self._needs is not None:
            await self._needs.close()
