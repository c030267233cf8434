"""Which nodes pull which entities of shared rows from this process, and so want to know when they change.

Kept in memory: a node that is connected has pulled what it has declared when its connection began.
"""

from __future__ import annotations

from collections.abc import Callable, Collection


class Readers:
    """`notify` is called with the id of a node that has news of rows, and may be called from any thread."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._nodes: dict[str, set[str]] = {}

    def pulled(self, node_id: str, entities: Collection[str]) -> None:
        """The node has asked for these entities."""
        for entity in entities:
            self._nodes.setdefault(entity, set()).add(node_id)

    def forget(self, node_id: str) -> None:
        """The hub has deleted the node."""
        for nodes in self._nodes.values():
            nodes.discard(node_id)

    def changed(self, entities: Collection[str], by: str = "") -> None:
        """Rows of these entities have changed; `by` is the node that knows because it did it."""
        told = {node_id for entity in entities for node_id in self._nodes.get(entity, ())}
        for node_id in sorted(told - {by}):
            self._notify(node_id)
