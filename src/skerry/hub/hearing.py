"""What this process does about the notices of the other hub processes, and what it tells them about the page.

`store.listening` brings them; only a hub on PostgreSQL has this.
"""

from __future__ import annotations

from collections.abc import Callable

from skerry.hub.changes import Changes
from skerry.hub.fleet.agents import Agent
from skerry.hub.fleet.nodes import Nodes
from skerry.hub.fleet.rollouts import Rollouts
from skerry.hub.link import Links
from skerry.hub.peers import Peers
from skerry.hub.store import notices
from skerry.hub.store.hub_store import HubStore
from skerry.hub.sync.readers import Readers
from skerry.kit.clock import Clock

SHOWN_EVERY = 1.0
"""Seconds; a page is rendered no more often either."""


class Hearing:
    """Belongs to the event loop's thread."""

    def __init__(  # noqa: PLR0913 - all who may have to hear
        self,
        store: HubStore,
        links: Links,
        nodes: Nodes,
        rollouts: Rollouts,
        changes: Changes,
        clock: Clock,
        *,
        peers: Peers,
        readers: Readers,
        trust: Callable[[], None],
    ) -> None:
        self._store = store
        self._links = links
        self._peers = peers
        self._nodes = nodes
        self._rollouts = rollouts
        self._changes = changes
        self._readers = readers
        self._clock = clock
        self._trust_changed = trust
        self._told = 0

    def heard(self, notice: notices.Notice) -> None:
        """Another process has told something."""
        match notice:
            case notices.News(nodes):
                for node_id in nodes:
                    self._links.notify(node_id)
            case notices.Shared(entities):
                self._readers.changed(entities)
            case notices.Trust():
                self._trust_changed()
            case notices.Rollouts():
                self._rollouts.began.ring()
            case notices.Shown():
                self._changes.heard()
            case _:
                self._heard_of_node(notice)

    def _heard_of_node(
        self, notice: notices.Deleted | notices.Rekeyed | notices.Revoked | notices.Linked
    ) -> None:
        match notice:
            case notices.Deleted(node_id):
                self._nodes.forget(node_id)
                self._readers.forget(node_id)
                self._links.end(node_id)
            case notices.Rekeyed(node_id):
                self._nodes.keys.changed(node_id)
            case notices.Revoked(node_id):
                self._nodes.withdraw(node_id)
                self._links.end(node_id, "revoked")
            case notices.Linked(node_id, turn, run, place):
                agent = Agent(run, place) if run else None
                self._nodes.seen_elsewhere(node_id, self._clock.wall_ns(), agent)
                self._links.moved(node_id, turn, agent)

    async def resumed(self) -> None:
        """Anything may have been missed: secrets and links are read again, and everybody who waits looks for himself."""
        await self._nodes.start()
        for node_id, turn in (await self._peers.turns_elsewhere()).items():
            self._links.moved(node_id, turn, None)
        for node_id in self._links.nodes:
            if self._nodes.knows(node_id):
                self._links.notify(node_id)
            else:
                self._links.end(node_id)
        self._trust_changed()
        self._rollouts.began.ring()
        self._changes.heard()

    async def tell(self) -> None:
        """Tells the others when the page has changed here since the last call; every SHOWN_EVERY seconds."""
        if self._changes.announced != self._told:
            self._told = self._changes.announced
            await self._store.write(lambda connection: notices.tell(connection, notices.Shown()))
