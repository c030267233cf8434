"""The models' needs of a node that may never have any: the rest is loaded with the first workload that names a model.

Most nodes have no models, and what fetches them would stay in the agent's memory for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.kit.bell import Bell
from skerry.node.models.named import is_wish
from skerry.wire.models import ModelCache
from skerry.wire.workload import Assignment

if TYPE_CHECKING:
    from skerry.node.models.fetching import ModelNeeds


class ModelsOnDemand:
    """Implements `workloads.needs.Needs` and, after all that adds models, `desired_state.LocalWishes`.

    `build` loads and makes the `ModelNeeds` that does the work.
    """

    def __init__(self, root: Path, limit: int, build: Callable[[], ModelNeeds]) -> None:
        self.changed = Bell()
        self.told = Bell()
        self._wishes: dict[str, Assignment] = {}
        """Workloads that only wish for their models, with all that they wish for."""
        self._root = root
        self._limit = limit
        self._build = build
        self._needs: ModelNeeds | None = None

    def want(self, assignments: Iterable[Assignment]) -> None:
        wanted = list(assignments)
        if self._needs is None and (any(one.models for one in wanted) or self._has_any()):
            self._needs = self._build()
            self._needs.changed, self._needs.told = self.changed, self.told
        names = {one.workload for one in wanted}
        self._wishes = {name: one for name, one in self._wishes.items() if name in names}
        if self._needs is not None:
            self._needs.want(wanted, self._wishes.values())

    def _has_any(self) -> bool:
        """Whether there is anything to look after: an empty cache is that of a node that never had a model."""
        return self._root.is_dir() and any(self._root.iterdir())

    def amended(self, wish: Assignment) -> Assignment:
        """The assignment without the models that could not be had, where they are only wished for."""
        if not wish.models or not is_wish(wish):
            self._wishes.pop(wish.workload, None)
            return wish
        self._wishes[wish.workload] = wish
        needs = self._needs
        if needs is None:
            return wish
        had = [model for model in wish.models if not needs.failure(model)]
        return msgspec.structs.replace(wish, models=had)

    def remark(self, _workload: str) -> str:
        """Nothing: what is missing says enough."""
        return ""

    def lacking(self, workload: str) -> dict[str, str]:
        """What a workload that only wishes for its models is without, by name, and why."""
        wish, needs = self._wishes.get(workload), self._needs
        if wish is None or needs is None:
            return {}
        found = {model.name: needs.failure(model) for model in wish.models}
        return {name: why for name, why in found.items() if why}

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
