"""Synced state on the node: facts, rows of every entity, and the outbox towards the hub.

A local edit writes the row and a reference to it into the outbox in one transaction; later edits of the same
row coalesce. `freeze` turns references into a frame whose number and bytes never change again, so that
sending it twice is the same unit. Workload and instance rows are in `instances.py`, records in `records.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from skerry.core.cursors import set_digest
from skerry.core.entities import ENTITIES
from skerry.core.lanes import extend
from skerry.kit.bell import Bell
from skerry.kit.clock import Clock
from skerry.kit.hlc import HybridClock
from skerry.kit.ids import random_token
from skerry.kit.sealing.cipher import Cipher
from skerry.kit.sqlite import SqliteWriter, read_queries
from skerry.node.store.audit_log import AuditLog, enter
from skerry.node.store.bodies import FROZEN, STATE
from skerry.node.store.hub_orders import ASSIGNMENT, order_of
from skerry.node.store.last_good import forget, keep_last_good
from skerry.node.store.sync_log import SyncLog
from skerry.wire.codec import encode
from skerry.wire.sync import NO_CHAIN, Lane, LanePoint, StateFrame, StateRow

SQL = read_queries(Path(__file__).with_name("state.sql"))


class FrozenFrame(msgspec.Struct, frozen=True):
    """A state frame ready for sending: number `n`, the chain before it and after it, its bytes."""

    n: int
    previous: str
    chain: str
    body: bytes


class NodeStore:
    """State rows of one node. Writes go through the writer's thread; reads are small and made at once."""

    def __init__(
        self, path: Path, writer: SqliteWriter, clock: Clock, node_id: str, cipher: Cipher
    ) -> None:
        self._path = path
        self._writer = writer
        self._clock = clock
        self._node_id = node_id
        self._cipher = cipher
        self._incarnation = ""
        self.state_changed = Bell()
        self.assignments_changed = Bell()
        self.orders_changed = Bell()
        self.log = SyncLog(writer, clock)
        self.audit = AuditLog(writer, clock)

    async def open(self) -> None:
        """Opens the reader and gives a new store its incarnation. The writer must have been started."""
        self._reader = self._writer.reader()
        seen = int(self._reader.execute(SQL["highest_hlc"]).fetchone()[0])
        self._hlc = HybridClock(self._clock, seen)
        self._incarnation = await self.fact("incarnation") or ""
        if not self._incarnation:
            await self.new_incarnation()

    def close(self) -> None:
        """Closes the reader."""
        self._reader.close()

    def on_corrupt(self, told: Callable[[str], None]) -> None:
        """`told` hears each time that SQLite finds the file damaged while this reads it."""
        self._reader.told = told

    @property
    def incarnation(self) -> str:
        """Random id of this store's history; a restored or cloned store gets a new one."""
        return self._incarnation

    @property
    def node_id(self) -> str:
        """Who signs this store's edits; empty before enrolment."""
        return self._node_id

    async def fact(self, name: str) -> str | None:
        """A single fact, or None."""
        row = self._reader.execute(SQL["fact"], (name,)).fetchone()
        return None if row is None else str(row["value"])

    async def set_fact(self, name: str, value: str, *, durable: bool = True) -> None:
        """Keeps a single fact."""
        await self._writer.run(
            lambda db: db.execute(SQL["set_fact"], (name, value)).rowcount,
            label="fact",
            durable=durable,
        )

    async def rows(self, *entities: str) -> list[StateRow]:
        """All rows of these entities that are not deleted, as they are at one moment, by id."""
        asked = encode(entities).decode()
        return [self._row(row) for row in self._reader.execute(SQL["rows"], (asked,))]

    async def put(self, entity: str, row_id: str, body: bytes, *, durable: bool = False) -> None:
        """A local edit: the row and its place in the outbox, in one transaction. An unchanged body is no edit."""

        def work(db: sqlite3.Connection) -> bool:
            held = db.execute(SQL["row"], (entity, row_id)).fetchone()
            if held is not None and not held["deleted"] and self._body(held) == body:
                return False
            rev = 0 if held is None else held["rev"]
            self._edit(db, StateRow(entity, row_id, rev, 0, "", body=msgspec.Raw(body)))
            return True

        if await self._writer.run(work, label="state.put", durable=durable):
            self.state_changed.ring()

    async def remove(self, entity: str, row_id: str) -> None:
        """A local deletion: a tombstone in the outbox; the row goes when the hub has it."""

        def work(db: sqlite3.Connection) -> bool:
            held = db.execute(SQL["row"], (entity, row_id)).fetchone()
            if held is None or held["deleted"]:
                return False
            self._edit(db, StateRow(entity, row_id, held["rev"], 0, "", deleted=True))
            return True

        if await self._writer.run(work, label="state.remove"):
            self.state_changed.ring()

    def shares_rows(self) -> bool:
        """Whether there are shared rows (`shared_rows`), or ever were."""
        return bool(self._reader.execute(SQL["shares_rows"]).fetchone()[0])

    async def unsent(self) -> int:
        """How many row changes and frozen frames wait for the hub."""
        acknowledged = (await self.lane("state")).n
        return int(self._reader.execute(SQL["count_unsent"], (acknowledged,)).fetchone()[0])

    async def freeze(self, max_rows: int) -> bool:
        """Freezes up to `max_rows` changed rows into the next frame. False: there was nothing to freeze."""

        def work(db: sqlite3.Connection) -> bool:
            rows = [self._row(row) for row in db.execute(SQL["queued_rows"], (max_rows,))]
            if not rows:
                return False
            before = _newest(db)
            body = encode(StateFrame(rows))
            n = before.n + 1
            sealed = self._cipher.seal(body, FROZEN.place(n))
            db.execute(SQL["put_frozen"], (n, extend(before.chain, body), sealed))
            db.executemany(SQL["unqueue"], [(row.entity, row.id) for row in rows])
            return True

        return await self._writer.run(work, label="state.freeze")

    async def frozen(self, after_n: int, limit: int) -> list[FrozenFrame]:
        """Frozen frames after `after_n`, oldest first."""
        found = self._reader.execute(SQL["frozen_after"], (after_n, limit)).fetchall()
        frames: list[FrozenFrame] = []
        for row in found:
            previous = frames[-1].chain if frames else await self.state_chain(row["n"] - 1)
            body = self._cipher.open(row["body"], FROZEN.place(row["n"]))
            frames.append(FrozenFrame(row["n"], previous or NO_CHAIN, row["chain"], body))
        return frames

    async def last_frozen(self) -> int:
        """The number of the newest frame, which the hub may have."""
        return _newest(self._reader).n

    async def state_chain(self, n: int) -> str | None:
        """The chain after frame `n`, when it is still known."""
        if n == 0:
            return NO_CHAIN
        row = self._reader.execute(SQL["frozen_at"], (n,)).fetchone()
        if row is not None:
            return str(row["chain"])
        point = await self.lane("state")
        return point.chain if point.n == n else None

    async def acknowledge_state(self, point: LanePoint, rows: Sequence[StateRow]) -> None:
        """The hub holds all frames up to `point`; `rows` are its versions of what was sent.

        What only this node writes stays as it is here: where the hub prefers a version that this store no
        longer knows, because it was put back from a copy, ours goes out again, based on the hub's.
        """

        def work(db: sqlite3.Connection) -> bool:
            db.execute(SQL["drop_frozen"], (point.n,))
            db.execute(SQL["set_lane"], ("state", point.n, point.chain))
            insisted = False
            for row in rows:
                self._hlc.observe(row.hlc)
                self.log.note_conflict(db, row, self._other_version(db, row))
                if self._is_overruled(db, row):
                    db.execute(SQL["insist"], (row.rev, self._hlc.tick(), row.entity, row.id))
                    db.execute(SQL["queue"], (row.entity, row.id))
                    insisted = True
                else:
                    self._take_over(db, row)
            return insisted

        if await self._writer.run(work, label="state.acknowledge", durable=False):
            self.state_changed.ring()

    async def apply_pull(
        self,
        rows: Sequence[StateRow],
        cursor: str,
        *,
        whole: AbstractSet[tuple[str, str]] | None = None,
    ) -> None:
        """Takes over the hub's rows and the cursor in one transaction; none of what only this node writes.

        `whole` is entity and id of all that the hub has for this node: every other row of the hub's is dropped.
        """

        def work(db: sqlite3.Connection) -> set[str]:
            changed = {row.entity for row in rows}
            if whole is not None:
                changed |= self._drop_others(db, whole)
            for row in rows:
                if not _is_own(row.entity):
                    self._enter_order(db, row)
                    keep_last_good(db, self._cipher, row)
                    self._take_over(db, row)
            self.log.note_pulled(db, rows)
            db.execute(SQL["set_fact"], ("cursor", cursor))
            return changed

        changed = await self._writer.run(work, label="state.pull")
        if "assignment" in changed:
            self.assignments_changed.ring()
        if "command" in changed:
            self.orders_changed.ring()

    async def digest(self) -> str:
        """Digest over the set that the hub gave us, to be compared with the hub's own."""
        found = self._reader.execute(SQL["revisions"])
        return set_digest(
            {(row["entity"], row["id"]): row["rev"] for row in found if _from_hub(row["entity"])}
        )

    async def own_digest(self) -> str:
        """Digest over what only this node writes, to be compared with the hub's; empty while some of it is unsent."""
        if await self.unsent():
            return ""
        found = self._reader.execute(SQL["revisions"])
        return set_digest(
            {(row["entity"], row["id"]): row["rev"] for row in found if _is_own(row["entity"])}
        )

    async def lane(self, lane: Lane) -> LanePoint:
        """How far the hub has acknowledged `lane`, as far as we know."""
        row = self._reader.execute(SQL["lane"], (lane,)).fetchone()
        return LanePoint() if row is None else LanePoint(row["acknowledged"], row["chain"])

    async def set_lane(self, lane: Lane, point: LanePoint) -> None:
        """Remembers an acknowledgement. Losing this only makes us send a unit again."""
        await self._writer.run(
            lambda db: db.execute(SQL["set_lane"], (lane, point.n, point.chain)).rowcount,
            label="lane.acknowledge",
            durable=False,
        )

    async def requeue_state(self) -> None:
        """Puts every row that this node writes into the outbox again: the hub lost some, or has another agent's."""
        await self._writer.run(_queue_own_entities, label="state.requeue")
        self.state_changed.ring()

    async def new_incarnation(self, incarnation: str | None = None) -> str:
        """Continues as a new history: state and edits are sent from number 1, records go on under their numbers."""
        incarnation = incarnation or random_token()

        def work(db: sqlite3.Connection) -> None:
            db.execute(SQL["set_fact"], ("incarnation", incarnation))
            db.execute(SQL["drop_all_frozen"])
            db.execute(SQL["drop_all_shared_frames"])
            db.execute(SQL["forget_row_lanes"])
            db.execute(SQL["set_lane"], ("state", 0, NO_CHAIN))
            _queue_own_entities(db)

        await self._writer.run(work, label="state.incarnation")
        self._incarnation = incarnation
        self.state_changed.ring()
        return incarnation

    def _drop_others(self, db: sqlite3.Connection, kept: AbstractSet[tuple[str, str]]) -> set[str]:
        dropped = set()
        for row in db.execute(SQL["revisions"]).fetchall():
            if _from_hub(row["entity"]) and (row["entity"], row["id"]) not in kept:
                gone = StateRow(row["entity"], row["id"], row["rev"], 0, "", deleted=True)
                self._enter_order(db, gone)
                db.execute(SQL["drop_row"], (row["entity"], row["id"]))
                if row["entity"] == ASSIGNMENT:
                    forget(db, row["id"])
                dropped.add(row["entity"])
        return dropped

    def _enter_order(self, db: sqlite3.Connection, row: StateRow) -> None:
        """What the hub has this device do goes into the audit log with it."""
        if row.entity != ASSIGNMENT:
            return
        held = db.execute(SQL["row"], (row.entity, row.id)).fetchone()
        known = None if held is None or held["deleted"] else self._body(held)
        deed = order_of(row.id, known, None if row.deleted else bytes(row.body))
        if deed is not None:
            enter(db, deed, self._clock.wall_ns())

    def _other_version(self, db: sqlite3.Connection, row: StateRow) -> StateRow | None:
        """Our version of the row when it is another one than the hub's; not while an edit of it waits."""
        held = db.execute(SQL["row"], (row.entity, row.id)).fetchone()
        if held is None or self._says_the_same(held, row):
            return None
        waits = db.execute(SQL["is_queued"], (row.entity, row.id)).fetchone() is not None
        return None if waits else self._row(held)

    def _is_overruled(self, db: sqlite3.Connection, row: StateRow) -> bool:
        """Whether the hub's `row` is another version of what only this node writes, and ours is not edited since."""
        held = db.execute(SQL["row"], (row.entity, row.id)).fetchone()
        return (
            held is not None
            and ENTITIES[row.entity].writer == "node"
            and not self._says_the_same(held, row)
            and db.execute(SQL["is_queued"], (row.entity, row.id)).fetchone() is None
        )

    def _says_the_same(self, held: sqlite3.Row, row: StateRow) -> bool:
        """The clock alone tells no versions apart: the hub sets one right that is far ahead of its own."""
        if (held["hlc"], held["origin"]) == (row.hlc, row.origin):
            return True
        return bool(held["deleted"]) == row.deleted and self._body(held) == bytes(row.body)

    def _row(self, row: sqlite3.Row) -> StateRow:
        return StateRow(
            entity=row["entity"],
            id=row["id"],
            rev=row["rev"],
            hlc=row["hlc"],
            origin=row["origin"],
            deleted=bool(row["deleted"]),
            body=msgspec.Raw(self._body(row)),
        )

    def _body(self, row: sqlite3.Row) -> bytes:
        return self._cipher.open(row["body"], STATE.place(row["entity"], row["id"]))

    def _edit(self, db: sqlite3.Connection, row: StateRow) -> None:
        """Puts the row as an edit of this node, of now, and into the outbox."""
        edited = msgspec.structs.replace(row, hlc=self._hlc.tick(), origin=self._node_id)
        self._put(db, edited)
        db.execute(SQL["queue"], (row.entity, row.id))

    def _put(self, db: sqlite3.Connection, row: StateRow) -> None:
        body = self._cipher.seal(bytes(row.body), STATE.place(row.entity, row.id))
        columns = (row.entity, row.id, row.rev, row.hlc, row.origin, int(row.deleted), body)
        db.execute(SQL["put_row"], columns)

    def _take_over(self, db: sqlite3.Connection, row: StateRow) -> None:
        if db.execute(SQL["is_queued"], (row.entity, row.id)).fetchone() is not None:
            # edited since: our edit is now based on theirs
            db.execute(SQL["set_revision"], (row.rev, row.entity, row.id))
        elif row.deleted:
            db.execute(SQL["drop_row"], (row.entity, row.id))
        else:
            self._put(db, row)


def _from_hub(entity: str) -> bool:
    return entity in ENTITIES and ENTITIES[entity].writer == "hub"


def _is_own(entity: str) -> bool:
    return entity in ENTITIES and ENTITIES[entity].writer == "node"


def _queue_own_entities(db: sqlite3.Connection) -> None:
    for entity in ENTITIES.values():
        if entity.writer != "hub":
            db.execute(SQL["queue_entity"], (entity.name,))


def _newest(db: sqlite3.Connection) -> LanePoint:
    row = db.execute(SQL["newest_frozen"]).fetchone()
    if row is not None:
        return LanePoint(row["n"], row["chain"])
    row = db.execute(SQL["lane"], ("state",)).fetchone()
    return LanePoint() if row is None else LanePoint(row["acknowledged"], row["chain"])
