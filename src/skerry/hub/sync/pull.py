"""Answers pulls: what changed for a node since its cursor, or its full set when they cannot be matched.

A row travels in its newest version only, however often it changed: its revision is the number of its
newest change. When nothing is pending, the digests of both sides' sets are compared, so whatever made
them differ is repaired by the full set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from sqlalchemy import Connection

from skerry.core.cursors import Position, set_digest, sign
from skerry.core.entities import ENTITIES
from skerry.hub.store import changes, rows
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import state
from skerry.hub.sync.history import Verdict, judge, read_cursor
from skerry.kit.clock import Clock
from skerry.wire.sync import Pull, PullReply, StateRow

PULLED = tuple(name for name, entity in ENTITIES.items() if entity.writer != "node")
"""The entities in a node's scope: what the hub writes, and what both sides write."""

MAX_ROWS = 1000


class Intent(Protocol):
    """What the hub wants of its nodes (`fleet.assignments.Assignments`)."""

    def reissue(self, connection: Connection) -> set[str]:
        """Writes all of it again with the current epoch; returns the ids of the nodes that have news."""
        ...


class Feed:
    """`notify` is called with a node's id, after the commit, when a new epoch brings it news."""

    def __init__(
        self,
        store: HubStore,
        intent: Intent,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._store = store
        self._intent = intent
        self._clock = clock
        self._notify = notify

    async def answer(self, node_id: str, pull: Pull) -> PullReply:
        """An unusable cursor is answered with the full set, never with an error.

        `pull.digest` is `core.cursors.set_digest` over the node's rows of PULLED entities that are not deleted.
        """
        reply = await self._store.read(lambda connection: self._answer(connection, node_id, pull))
        if isinstance(reply, Position):
            await self._start_epoch(reply)
            reply = await self._store.read(lambda connection: self._full(connection, node_id))
        return reply

    def _answer(self, connection: Connection, node_id: str, pull: Pull) -> PullReply | Position:
        """The reply, or the node's position when the hub lost that part of its history."""
        position = read_cursor(pull.cursor, self._store.facts.cursor_key, node_id)
        if position is None:
            return self._full(connection, node_id)
        match _verdict(connection, position):
            case "lost":
                return position
            case "unusable":
                return self._full(connection, node_id)
            case "follows":
                return self._changes(connection, position, pull)

    def _changes(self, connection: Connection, position: Position, pull: Pull) -> PullReply:
        limit = min(max(pull.limit, 1), MAX_ROWS)
        pending = _read(connection, position.scope, after=position.seq, limit=limit + 1)
        if not pending and pull.digest != digest(_read(connection, position.scope)):
            return self._full(connection, position.scope)
        sent = pending[:limit]
        seq = sent[-1].rev if sent else position.seq
        cursor = self._cursor(connection, position.scope, seq)
        more = len(pending) > len(sent)
        return PullReply(sent, cursor, more=more, full=False, hub_time=self._clock.wall_ns())

    def _full(self, connection: Connection, node_id: str) -> PullReply:
        held = _read(connection, node_id)
        cursor = self._cursor(connection, node_id, max((row.rev for row in held), default=0))
        live = [row for row in held if not row.deleted]
        return PullReply(live, cursor, more=False, full=True, hub_time=self._clock.wall_ns())

    def _cursor(self, connection: Connection, node_id: str, seq: int) -> str:
        epoch = changes.read_log(connection).epoch
        tag = changes.tag_of(connection, seq) or ""
        return sign(Position(epoch, seq, tag, node_id), self._store.facts.cursor_key)

    async def _start_epoch(self, lost: Position) -> None:
        """Once for all nodes: those who notice later find a cursor of the epoch before."""

        def work(connection: Connection) -> set[str]:
            if _verdict(connection, lost) != "lost":
                return set()
            changes.raise_epoch(connection, above=lost.epoch)
            return self._intent.reissue(connection)

        for node_id in sorted(await self._store.write(work)):
            self._notify(node_id)


def digest(held: Iterable[StateRow]) -> str:
    """The digest of a node's set; deleted rows do not count."""
    return set_digest({(row.entity, row.id): row.rev for row in held if not row.deleted})


def _verdict(connection: Connection, position: Position) -> Verdict:
    log = changes.read_log(connection)
    return judge(position, log, changes.tag_of(connection, position.seq))


def _read(
    connection: Connection, node_id: str, *, after: int = 0, limit: int | None = None
) -> list[StateRow]:
    """The rows of a node's scope in the order of their newest changes, deleted ones too."""
    query = rows.in_scope(node_id, PULLED).where(state.c.rev > after)
    found = connection.execute(query.order_by(state.c.rev).limit(limit))
    return [rows.to_wire(row) for row in found]
