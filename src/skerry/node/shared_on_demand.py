"""The rows that a node shares with its hub, if any: loaded with the first declaration, or at a start that finds some."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from skerry.node.store.state import NodeStore

if TYPE_CHECKING:
    from skerry.node.store.entity_rows import EntityRows
    from skerry.node.sync.row_lanes import Shared


class SharedOnDemand:
    """`build` loads the rooms and joins them to the running sync."""

    def __init__(self, state: NodeStore, build: Callable[[], Awaitable[Shared]]) -> None:
        self._state = state
        self._build = build
        self._building = asyncio.Lock()
        self.loaded: Shared | None = None
        self._entities: EntityRows | None = None

    async def restore(self) -> None:
        """Goes on with what was declared before this start."""
        if self._state.shares_rows():
            await self.open()

    async def open(self) -> Shared:
        """The shared rows of this node, loaded now if they were not."""
        async with self._building:
            if self.loaded is None:
                self.loaded = await self._build()
            return self.loaded

    async def entities(self) -> EntityRows:
        """The rows of models that workloads keep here."""
        shared = await self.open()
        if self._entities is None:
            # Most nodes have no models: memory counts.
            from skerry.node.store.entity_rows import EntityRows  # noqa: PLC0415

            self._entities = EntityRows(shared.rows, shared.frames)
        return self._entities
