"""Which nodes pull which entities of shared rows from this process, and so want to know when they change.

Kept in memory: a node that is connected has pulled what it has declared when its connection began. Where many nodes read
an entity that many of them change, each change would make all of them ask: then they are told of several changes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

APIECE = 0.003
"""Seconds until the next news of an entity for each reader that was told the last: most of the time is left for other things.

A question that finds little costs the hub a quarter of that."""

FEW = 20
"""Readers of an entity that are told of each change at once."""


class Readers:
    """`notify` is called with the id of a node that has news of rows, and says whether the node is connected here.

    Belongs to the event loop's thread.
    """

    def __init__(self, notify: Callable[[str], bool]) -> None:
        self._notify = notify
        self._nodes: dict[str, set[str]] = {}
        self._due: dict[str, float] = {}
        """By entity, when its readers may be told again, in seconds of the event loop."""
        self._kept: dict[str, str] = {}
        """Entities whose news wait until then, with the node that knows because it made all the changes, if one did."""

    def pulled(self, node_id: str, entities: Collection[str]) -> None:
        """The node has asked for these entities."""
        for entity in entities:
            self._nodes.setdefault(entity, set()).add(node_id)

    def forget(self, node_id: str) -> None:
        """The hub has deleted the node."""
        for nodes in self._nodes.values():
            nodes.discard(node_id)

    def changed(self, entities: Collection[str], by: str = "") -> None:
        """Rows of these entities have changed; `by` is the node that knows because it did it.

        Told at once, unless many nodes have just been told of the same entity.
        """
        self._tell([entity for entity in entities if not self._keeps(entity, by)], by)

    def _keeps(self, entity: str, by: str) -> bool:
        """Whether the news wait; then they are told in time."""
        if entity in self._kept:
            if self._kept[entity] != by:
                self._kept[entity] = ""
            return True
        if entity not in self._due:
            return False
        loop = asyncio.get_running_loop()
        due = self._due.pop(entity)
        if due <= loop.time():
            return False
        self._kept[entity] = by
        loop.call_at(due, self._tell_kept, entity)
        return True

    def _tell_kept(self, entity: str) -> None:
        self._tell([entity], self._kept.pop(entity))

    def _tell(self, entities: Collection[str], by: str) -> None:
        readers = {entity: self._nodes.get(entity, set()) for entity in entities}
        known = set().union(*readers.values()) - {by}
        told = {node_id for node_id in sorted(known) if self._notify(node_id)}
        for entity, nodes in readers.items():
            many = len(nodes & told)
            if many > FEW:
                self._due[entity] = asyncio.get_running_loop().time() + many * APIECE
