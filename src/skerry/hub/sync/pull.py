"""Answers pulls: what changed for a node since its cursor, or its full set when they cannot be matched.

A row travels in its newest version only, however often it changed: its revision is the number of its
newest change. Answers are bounded by bytes; what does not fit follows by the cursor of the one before. When
nothing is pending, the digests of both sides' sets are compared, so whatever made them differ is repaired by
the full set. What the node writes is compared by the node, which sends it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from skerry.core.cursors import Position, set_digest, sign
from skerry.core.entities import ENTITIES
from skerry.hub.store import changes, rows
from skerry.hub.store.bodies import Bodies
from skerry.hub.store.changes import Log
from skerry.hub.store.hub_store import HubStore
from skerry.hub.store.tables import FLEET, state
from skerry.hub.sync.epochs import Epochs
from skerry.hub.sync.history import Verdict, judge, read_cursor
from skerry.kit.clock import Clock
from skerry.wire.sync import Pull, PullReply, StateRow

PULLED = tuple(name for name, entity in ENTITIES.items() if entity.writer != "node")
"""The entities in a node's scope: what the hub writes, and what both sides write."""

STATED = tuple(name for name, entity in ENTITIES.items() if entity.writer == "node")
"""What only the node writes, which another agent with its identity may have written too."""

MAX_ROWS = 1000

MAX_PAGE = 1024 * 1024
"""Bytes of one answer's rows before compression, unless a single row is larger: hub and node hold it in memory."""

_AROUND = 256
"""Bytes that travel with each body, generously."""

# Made once: making a statement costs ten times as much as running it, and every node asks at every news.
_INDEX = (
    select(state.c.entity, state.c.id, state.c.rev, state.c.deleted, func.length(state.c.body))
    .where(state.c.fleet_id == FLEET, state.c.scope == bindparam("scope"))
    .order_by(state.c.rev)
)
_ROWS = (
    rows.in_scope(bindparam("scope"), PULLED)
    .where(state.c.rev > bindparam("after"), state.c.rev <= bindparam("through"))
    .order_by(state.c.rev)
)


class Feed:
    """Answers nodes' pulls of state."""

    def __init__(self, store: HubStore, epochs: Epochs, clock: Clock) -> None:
        self._store = store
        self._epochs = epochs
        self._clock = clock

    async def answer(self, node_id: str, pull: Pull) -> PullReply:
        """An unusable cursor is answered with the full set, never with an error.

        `pull.digest` is `core.cursors.set_digest` over the node's rows of PULLED entities that are not deleted.
        """
        reply = await self._store.read(lambda connection: self._answer(connection, node_id, pull))
        if isinstance(reply, Position):
            await self._start_epoch(reply)
            reply = await self._store.read(lambda connection: self._full(connection, node_id, pull))
        return reply

    def answer_within(self, connection: Connection, node_id: str, pull: Pull) -> PullReply | None:
        """As `answer`, in a snapshot of the caller's; None where that takes more than reading."""
        reply = self._answer(connection, node_id, pull)
        return None if isinstance(reply, Position) else reply

    def _answer(self, connection: Connection, node_id: str, pull: Pull) -> PullReply | Position:
        """The reply, or the node's position when the hub lost that part of its history."""
        position = read_cursor(pull.cursor, self._store.facts.cursor_key, node_id)
        if position is None:
            return self._full(connection, node_id, pull)
        log = changes.read_log(connection)
        match judge(position, log, changes.tag_of(connection, position.seq)):
            case "lost":
                return position
            case "unusable":
                return self._full(connection, node_id, pull)
            case "follows":
                return self._changes(connection, position, log, pull)

    def _changes(
        self, connection: Connection, position: Position, log: Log, pull: Pull
    ) -> PullReply:
        scope = _Scope.of(connection, position.scope)
        pending = [entry for entry in scope.pulled if entry.rev > position.seq]
        if not pending and pull.digest != digest(scope.pulled):
            return self._whole(connection, scope, pull)
        if not pending:
            now = Position(log.epoch, position.seq, position.tag, scope.node_id)
            cursor = sign(now, self._store.facts.cursor_key)
            return self._reply(scope, [], cursor, more=False, full=False)
        page = first_page(pending, pull.limit, pull.most)
        through = page[-1].rev
        sent = _read(connection, scope.node_id, after=position.seq, through=through)
        cursor = self._cursor(connection, scope.node_id, through)
        return self._reply(scope, sent, cursor, more=len(pending) > len(page), full=False)

    def _full(self, connection: Connection, node_id: str, pull: Pull) -> PullReply:
        return self._whole(connection, _Scope.of(connection, node_id), pull)

    def _whole(self, connection: Connection, scope: _Scope, pull: Pull) -> PullReply:
        """The first page of the whole set. The cursor that it ends with makes the others plain changes."""
        live = [entry for entry in scope.pulled if not entry.deleted]
        page = first_page(live, pull.limit, pull.most)
        more = len(live) > len(page)
        through = page[-1].rev if more else max((entry.rev for entry in scope.pulled), default=0)
        found = _read(connection, scope.node_id, after=0, through=through)
        sent = [row for row in found if not row.deleted]
        cursor = self._cursor(connection, scope.node_id, through)
        return self._reply(scope, sent, cursor, more=more, full=True)

    def _reply(
        self, scope: _Scope, sent: list[StateRow], cursor: str, *, more: bool, full: bool
    ) -> PullReply:
        return PullReply(sent, cursor, more, full, self._clock.wall_ns(), digest(scope.stated))

    def _cursor(self, connection: Connection, node_id: str, seq: int) -> str:
        epoch = changes.read_log(connection).epoch
        tag = changes.tag_of(connection, seq) or ""
        return sign(Position(epoch, seq, tag, node_id), self._store.facts.cursor_key)

    async def _start_epoch(self, lost: Position) -> None:
        def still(connection: Connection) -> bool:
            return _verdict(connection, lost) == "lost"

        await self._epochs.start(lost.epoch, still)


class Entry(NamedTuple):
    """A row without its body; `size` is the body's, in bytes."""

    entity: str
    id: str
    rev: int
    deleted: bool
    size: int


class _Scope(NamedTuple):
    """All rows of one node in the order of their newest changes, deleted ones too: what it pulls, and what only it writes."""

    node_id: str
    pulled: list[Entry]
    stated: list[Entry]

    @classmethod
    def of(cls, connection: Connection, node_id: str) -> _Scope:
        found = connection.execute(_INDEX, {"scope": node_id}).all()
        entries = [Entry(*row) for row in found]
        pulled = [entry for entry in entries if entry.entity in PULLED]
        return cls(node_id, pulled, [entry for entry in entries if entry.entity in STATED])


def digest(held: Iterable[Entry]) -> str:
    """The digest of a node's set; deleted rows do not count."""
    return set_digest({(entry.entity, entry.id): entry.rev for entry in held if not entry.deleted})


def first_page(pending: Sequence[Entry], limit: int, most: int = 0) -> Sequence[Entry]:
    """As many of the rows as one answer carries, or of at most `most` bytes: at least one, if there are any."""
    limit = min(max(limit, 1), MAX_ROWS)
    room = min(most, MAX_PAGE) if most > 0 else MAX_PAGE
    sizes = accumulate(entry.size + _AROUND for entry in pending)
    fitting = sum(1 for _ in takewhile(lambda size: size <= room, sizes))
    return pending[: min(max(fitting, 1), limit)]


def _verdict(connection: Connection, position: Position) -> Verdict:
    log = changes.read_log(connection)
    return judge(position, log, changes.tag_of(connection, position.seq))


def _read(connection: Connection, node_id: str, *, after: int, through: int) -> list[StateRow]:
    """The rows whose newest changes are `after` < rev <= `through`, in their order."""
    asked = {"scope": node_id, "after": after, "through": through}
    bodies = Bodies.of(connection)
    return [rows.to_wire(bodies, row) for row in connection.execute(_ROWS, asked)]
