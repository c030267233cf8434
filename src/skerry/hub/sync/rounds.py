"""Answers a node that asks after its states and after shared rows in one request, from one snapshot: most rounds find nothing.

Each half is what `pull` or `rows_pull` answers to its question alone.
"""

from __future__ import annotations

from sqlalchemy import Connection

from skerry.hub.store.hub_store import HubStore
from skerry.hub.sync.pull import Feed
from skerry.hub.sync.rows_pull import RowFeed
from skerry.wire.shared import Round, RoundReply, RowsPage
from skerry.wire.sync import PullReply


class Rounds:
    """Answers nodes' rounds."""

    def __init__(self, store: HubStore, feed: Feed, row_feed: RowFeed) -> None:
        self._store = store
        self._feed = feed
        self._row_feed = row_feed

    async def answer(self, node_id: str, asked: Round) -> RoundReply:
        """An unusable cursor of either half is no error. Raises InvalidInput as `HubStore.read`, for both halves."""

        def read(connection: Connection) -> tuple[PullReply | None, RowsPage | None]:
            state = self._feed.answer_within(connection, node_id, asked.state)
            return state, self._row_feed.answer_within(connection, node_id, asked.rows)

        self._row_feed.begin(node_id, asked.rows)
        state, rows = await self._store.read(read)
        return RoundReply(
            state or await self._feed.answer(node_id, asked.state),
            rows or await self._row_feed.answer(node_id, asked.rows),
        )
