"""Starts a new epoch when a node's cursor shows that the hub's database was put back to an earlier state."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Protocol

from sqlalchemy import Connection

from skerry.hub.store import changes, locks
from skerry.hub.store.hub_store import HubStore


class Intent(Protocol):
    """What the hub wants of its nodes (`fleet.assignments.Assignments`)."""

    def reissue(self, connection: Connection) -> Set[str]:
        """Writes all of it again with the current epoch; returns the ids of the nodes that have news."""
        ...


class Epochs:
    """`notify` is called with a node's id, after the commit, when a new epoch brings it news."""

    def __init__(self, store: HubStore, intent: Intent, notify: Callable[[str], None]) -> None:
        self._store = store
        self._intent = intent
        self._notify = notify

    async def start(self, above: int, still: Callable[[Connection], bool]) -> None:
        """An epoch above `above`, if history is `still` found to be lost.

        Once for all nodes: those who notice later find a cursor of the epoch before.
        """

        def work(connection: Connection) -> Set[str]:
            locks.of_fleet(connection)
            if not still(connection):
                return set()
            changes.raise_epoch(connection, above=above)
            return self._intent.reissue(connection)

        for node_id in sorted(await self._store.write(work)):
            self._notify(node_id)
