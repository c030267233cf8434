"""Bugs of different kinds, each put into the shipped modules for as long as a run lasts: the simulation must find them all.

A bug says what it breaks, and which faults the seeds that look for it have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from tests.simulation.world import Plan

from skerry.core.lanes import Admit, Decision, extend
from skerry.core.merging import Version, judging
from skerry.hub.store import shared_writing
from skerry.hub.sync import push, row_fates, rows_push
from skerry.kit import hlc
from skerry.kit.disk import RealDisk
from skerry.node.store import (
    entity_writes,
    shared_answers,
    shared_frames,
    shared_pulled,
    shared_rows,
)
from skerry.node.store.shared_table import SQL, Held
from skerry.node.store.state import NodeStore
from skerry.node.sync import decide, session
from skerry.wire.shared import Declaration, RowsPart
from skerry.wire.sync import LanePoint, PushUnit, StateRow

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """`put` breaks the product; the rest is what the runs have that look for it. `seed` found it when it was looked at last."""

    name: str
    put: Callable[[Patch], None]
    seed: int = 1
    faults: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    entities: tuple[str, ...] = ("newest", "manual")
    only: tuple[str, ...] = ()
    pace: float = 0.5
    patience: float = 40.0
    people: float = 0.0
    behind: float = 0.0

    def plan(self) -> Plan:
        """Of each of those runs: two nodes, and little besides what the bug needs."""
        return Plan(
            steps=30, trouble=0.3, patience=self.patience, pace=self.pace, faults=self.faults, rates=dict(self.rates), entities=self.entities,
            only=self.only, people=self.people, behind=self.behind,
        )  # fmt: skip


def answer_before_the_disk(patch: Patch) -> None:
    """A node says «accepted» before its records are on the disk."""
    sync = RealDisk.sync

    def later(self: RealDisk, label: str, fd: int) -> None:
        if label != "segment.sync":
            sync(self, label, fd)

    patch.setattr(RealDisk, "sync", later)


def judged_again(patch: Patch) -> None:
    """The hub applies an edit again that comes a second time."""
    take = rows_push.take

    def anew(connection: Any, lane: Any, first: int, frames: Any, start: int, at: int) -> Any:
        return take(connection, lane, first, frames, 0, at)

    patch.setattr(rows_push, "take", anew)
    patch.setattr(row_fates.Fates, "_earlier", lambda *_: None)


def cursor_before_rows(patch: Patch) -> None:
    """The cursor is kept before the rows that it stands for, in a transaction of its own."""
    apply_part = shared_pulled.SharedPulled.apply_part

    async def in_two_steps(self: shared_pulled.SharedPulled, part: RowsPart, *more: Any) -> None:
        await self._rows.writer.run(
            lambda db: db.execute(SQL["set_cursor"], (part.cursor, part.entity)).rowcount,
            label="shared.cursor",
        )
        await apply_part(self, part, *more)

    patch.setattr(shared_pulled.SharedPulled, "apply_part", in_two_steps)


def tombstone_forgotten(patch: Patch) -> None:
    """A deleted row goes at once, and nobody hears of it."""

    def delete(self: entity_writes.Changing, ids: Sequence[str], held: dict[str, Held]) -> None:
        gone = [row_id for row_id in ids if not held[row_id].queued]
        self._table.drop(self._db, self._entity, gone)

    patch.setattr(entity_writes.Changing, "_delete", delete)


def digest_without_deletions(patch: Patch) -> None:
    """The hub's sums still have the rows that were deleted."""
    summed = shared_writing.summed

    def without(sums: Sequence[int], come: Iterable[Any], gone: Iterable[Any]) -> list[int]:
        now = list(come)
        there = {row_id for row_id, mark in now if mark}
        return summed(sums, now, [each for each in gone if each[0] in there])

    patch.setattr(shared_writing, "summed", without)


def reference_lost(patch: Patch) -> None:
    """A row that was edited while an edit of it was on its way has no place in the outbox any more."""
    rebase = shared_answers.Answer._rebase

    def forgetful(self: shared_answers.Answer, *words: Any) -> None:
        rebase(self, *words)
        self._again.clear()

    patch.setattr(shared_answers.Answer, "_rebase", forgetful)


def wrong_base(patch: Patch) -> None:
    """An edit that follows another names the revision that the other was made on."""
    rebase = shared_answers.Answer._rebase

    def stale(self: shared_answers.Answer, row: Any, *words: Any) -> None:
        rebase(self, row, *words)
        if self._again and self._again[-1][0].id == row.id:
            later, body = self._again[-1]
            self._again[-1] = (msgspec.structs.replace(later, rev=row.rev), body)

    patch.setattr(shared_answers.Answer, "_rebase", stale)


def clock_stands_still(patch: Patch) -> None:
    """The hybrid clock gives the same time twice when the wall clock went back."""

    def tick(self: hlc.HybridClock) -> int:
        self._last = max(self._now(), self._last)
        return self._last

    patch.setattr(hlc.HybridClock, "tick", tick)


def conflicts_dropped(patch: Patch) -> None:
    """A node forgets at its start which edits wait for a person."""
    begin = shared_rows.SharedRows.__init__

    def forgetful(self: shared_rows.SharedRows, writer: Any, *words: Any) -> None:
        writer.submit(lambda db: db.execute("DELETE FROM shared_conflict").rowcount, label="test")
        begin(self, writer, *words)

    patch.setattr(shared_rows.SharedRows, "__init__", forgetful)


def chain_ignored(patch: Patch) -> None:
    """Numbers alone say what is known of a lane, at both ends."""

    def admit(held: LanePoint, unit: PushUnit, sizes: Sequence[int]) -> Decision:
        position, start = LanePoint(unit.first - 1, unit.previous), 0
        for index, (frame, size) in enumerate(zip(unit.frames, sizes, strict=True)):
            position = LanePoint(position.n + size, extend(position.chain, bytes(frame)))
            start = index + 1 if position.n <= held.n else start
        return Admit(start, position if position.n > held.n else held)

    def by_number(hub: LanePoint, held: decide.Held) -> decide.Decision:
        if hub.n < held.acknowledged.n:
            return decide.HubWentBack(hub)
        return decide.Continue(held.head if hub.n > held.head.n else hub)

    patch.setattr(push, "admit", admit)
    patch.setattr(session, "decide", by_number)


def losers_forgotten(patch: Patch) -> None:
    """What loses is not kept in the hub's history."""
    patch.setattr(row_fates.Fates, "_keep", lambda *_: None)


def newer_version_overlooked(patch: Patch) -> None:
    """A version that comes while an edit of the row is on its way is not asked for afterwards."""
    patch.setitem(SQL, "set_seen", "SELECT ?, ?, ?")


def number_reused(patch: Patch) -> None:
    """A frame of edits gets its number from those that are still here, not from the last that was answered."""

    def newest(self: shared_frames.SharedFrames, db: sqlite3.Connection, lane: str) -> LanePoint:
        row = db.execute(SQL["newest_frame"], (lane,)).fetchone()
        return LanePoint() if row is None else LanePoint(row["n"], row["chain"])

    patch.setattr(shared_frames.SharedFrames, "_newest", newest)


def insisted_for_ever(patch: Patch) -> None:
    """A status whose clock the hub has set right is another one to its node, which sends it again, and again."""

    def by_clock(_: NodeStore, held: sqlite3.Row, row: StateRow) -> bool:
        return (held["hlc"], held["origin"]) == (row.hlc, row.origin)

    patch.setattr(NodeStore, "_says_the_same", by_clock)


def older_wins(patch: Patch) -> None:
    """Of two edits that did not know of each other the older stands."""

    def older(held: Version, edit: Version) -> str:
        return "held" if (edit.hlc, edit.origin) > (held.hlc, held.origin) else "edit"

    patch.setattr(judging, "_newer", older)


def centre_gives_way(patch: Patch) -> None:
    """Under «central_wins» an edit of a node's beats what the hub has."""
    preferred = judging._preferred

    def by_edge(strategy: Any, held: Version, edit: Version) -> Any:
        return preferred("edge_wins" if strategy == "central_wins" else strategy, held, edit)

    patch.setattr(judging, "_preferred", by_edge)


def edge_gives_way(patch: Patch) -> None:
    """Under «edge_wins» the hub's own edit stays."""
    preferred = judging._preferred

    def by_hub(strategy: Any, held: Version, edit: Version) -> Any:
        return preferred("central_wins" if strategy == "edge_wins" else strategy, held, edit)

    patch.setattr(judging, "_preferred", by_hub)


def union_forgotten(patch: Patch) -> None:
    """A list that is a union is a field like any other: the newer one stands."""
    rules_of = judging.rules_of

    def without(declaration: Declaration) -> Any:
        fields = {name: rule for name, rule in declaration.fields.items() if rule != "union"}
        return rules_of(msgspec.structs.replace(declaration, fields=fields))

    patch.setattr(judging, "rules_of", without)


def merged_row_too_old(patch: Patch) -> None:
    """A row that was merged has the clock of the edit, also where what it met was later."""
    merged = judging._merged

    def of_the_edit(declaration: Any, base: Any, held: Version, edit: Version) -> judging.Verdict:
        verdict = merged(declaration, base, held, edit)
        if verdict.outcome != "merged":
            return verdict
        version = msgspec.structs.replace(verdict.version, hlc=edit.hlc)
        return msgspec.structs.replace(verdict, version=version)

    patch.setattr(judging, "_merged", of_the_edit)


def time_of_others_ignored(patch: Patch) -> None:
    """A node's clock heeds that of no row that has come: its edits of them are older than they are."""
    patch.setattr(hlc.HybridClock, "observe", lambda *_: None)
    patch.setattr(hlc.HybridClock, "tick_after", lambda clock, _: clock.tick())


BUGS = (
    Bug("answer before the disk", answer_before_the_disk, 3, ("power node", "apart")),
    Bug(
        "judged again", judged_again, 1, ("apart",), {"answer lost": 0.2, "late": 0.2, "repeated": 0.2},
        ("merged", "newest"), ("merge",), 1.0,
    ),
    Bug("cursor before rows", cursor_before_rows, 1, ("power node",), only=("edit", "own"), pace=1.0),
    Bug("tombstone forgotten", tombstone_forgotten, 1),
    Bug("digest without deletions", digest_without_deletions, 1),
    Bug("reference lost", reference_lost, 1, (), {"slow": 0.3}),
    Bug("wrong base", wrong_base, 1, (), {"slow": 0.3}, ("merged", "manual"), (), 0.3),
    Bug(
        "clock stands still", clock_stands_still, 1, ("clock of a node",), {"slow answer": 0.4}, ("newest", "manual"),
        ("edit", "own"), 0.3,
    ),
    Bug(
        "conflicts dropped", conflicts_dropped, 1, ("kill node", "stop node"), {}, ("manual",), ("edit",), 0.1,
    ),
    Bug("chain ignored", chain_ignored, 1, ("restore node", "apart"), patience=400.0),
    Bug("losers forgotten", losers_forgotten, 1, ("apart",), {}, ("central", "newest")),
    Bug(
        "newer version overlooked", newer_version_overlooked, 4, (), {"slow answer": 0.4}, ("newest", "edge"),
        ("edit",), 0.3,
    ),
    Bug("number reused", number_reused, 1),
    Bug("insisted for ever", insisted_for_ever, 2, ("clock of a node",), only=("report", "publish")),
    Bug("older wins", older_wins, 1, ("apart",), {}, ("newest",), ("edit",), 0.2),
    Bug("centre gives way", centre_gives_way, 1, ("apart",), {}, ("central",), ("edit",), 0.2, people=0.4),
    Bug("edge gives way", edge_gives_way, 1, ("apart",), {}, ("edge",), ("edit",), 0.2, people=0.4),
    Bug("union forgotten", union_forgotten, 1, ("apart",), {}, ("merged", "newest"), ("merge",), 0.2),
    Bug("time of others ignored", time_of_others_ignored, 1, (), {}, ("newest", "edge"), ("edit",), 1.0, behind=20.0),
    Bug("merged row too old", merged_row_too_old, 1, ("apart",), {}, ("merged", "newest"), ("merge",), 0.2),
)  # fmt: skip
