"""Takes the edits of a row lane's frames within the push's transaction: reads what judging needs, and writes what it says.

Rows are read and written by the set; `row_fates` decides. Everybody who judges holds the fleet's lock, so hub
processes on one database judge one after the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from skerry.hub.store import changes, locks, shared, shared_answers, shared_writing
from skerry.hub.store.shared_answers import Answer, Whose
from skerry.hub.sync.row_fates import Asked, Fate, Fates, Material, to_judge
from skerry.hub.sync.twin_guard import guard_of
from skerry.kit.errors import InvalidInput
from skerry.kit.hlc import MAX_AHEAD_MS
from skerry.wire.shared import DECLARATIONS, Declaration, Edit, EditFrame, Judged, SharedRow

_A_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class RowsTaken:
    """What the reply says about a unit, and the entities that changed."""

    revs: list[int]
    judged: list[Judged]
    entities: Collection[str]


def take(
    connection: Connection,
    lane: Whose,
    first: int,
    frames: Sequence[EditFrame],
    start: int,
    at: int,
) -> RowsTaken:
    """Judges `frames[start:]` of a unit whose first frame has the number `first`; the others were judged before.

    Raises InvalidInput for a declaration that a patch makes unreadable. `at` is in ns since 1970.
    """
    locks.of_fleet(connection)
    known = shared_answers.read(connection, lane, first, first + start - 1) if start else {}
    fates, entities = apply(connection, frames[start:], lane.node_id, at)
    fresh = {
        first + start + index: _answer(each) for index, each in enumerate(_by_frame(frames[start:], fates))
    }  # fmt: skip
    shared_answers.write(connection, lane, fresh, first, at)
    revs: list[int] = []
    judged: list[Judged] = []
    for number, frame in enumerate(frames[:start], first):
        answer = known.get(number) or Answer([0] * len(frame.edits), {})
        judged += _told_again(connection, frame, answer, len(revs))
        revs += answer.revs
    judged += _told(fates, len(revs))
    revs += [fate.rev for fate in fates]
    return RowsTaken(revs, judged, entities)


def take_declarations(
    connection: Connection, frames: Sequence[EditFrame], node_id: str, at: int
) -> list[str]:
    """Takes what frames bring of how their entities are declared; returns these. Raises InvalidInput as `take`."""
    edits = [frame.declared for frame in frames if frame.declared is not None]
    if edits:
        locks.of_fleet(connection)
        apply(connection, [EditFrame(DECLARATIONS, edits)], node_id, at)
    return [edit.id for edit in edits]


def apply(
    connection: Connection, frames: Sequence[EditFrame], origin: str, at: int, who: str = ""
) -> tuple[list[Fate], set[str]]:
    """The fates of all edits in their order, and the entities that changed. The caller holds the fleet's lock.

    `who` asks for them, where that is somebody at the hub.
    """
    spoken = [frame for frame in frames if frame.edits]
    by_entity: dict[str, list[EditFrame]] = {}
    for frame in spoken:
        by_entity.setdefault(frame.entity, []).append(frame)
    fates: dict[str, Iterator[Fate]] = {}
    changed: set[str] = set()
    ceiling = (at // _A_MILLISECOND + MAX_AHEAD_MS) << 16
    for entity, its in by_entity.items():
        edits = [edit for frame in its for edit in frame.edits]
        found, wrote = _apply_entity(connection, Asked(entity, origin, edits, ceiling, who), at)
        fates[entity] = iter(found)
        if wrote:
            changed.add(entity)
    in_order = (itertools.islice(fates[frame.entity], len(frame.edits)) for frame in spoken)
    return list(itertools.chain.from_iterable(in_order)), changed


def _apply_entity(connection: Connection, asked: Asked, at: int) -> tuple[list[Fate], bool]:
    heads = shared.heads(connection, asked.entity, [edit.id for edit in asked.edits])
    before = shared.standing(connection, asked.entity)
    pruned = before.pruned_through
    guard = guard_of(connection, asked.entity, asked.origin)
    hard = to_judge(asked, heads, pruned) if guard is None else asked.edits
    material = _material(connection, asked, hard, pruned, at) if hard else Material()
    # An edit takes two numbers at most: the row's, and that of what is kept beside it.
    most = len(asked.edits) + len(hard)
    first = changes.allot(connection, most)
    fates = Fates(asked, heads, material, itertools.count(first), guard)
    found = fates.judge({edit.id for edit in hard})
    if asked.entity == DECLARATIONS:
        _check_declarations(fates.changed.rows)
    shared_writing.write(connection, fates.changed, before, at)
    wrote = bool(fates.changed.rows)
    shared_writing.commit(connection, first, first + most - 1, [asked.entity] if wrote else [], at)
    return found, wrote


def _material(
    connection: Connection, asked: Asked, hard: Sequence[Edit], pruned: int, at: int
) -> Material:
    entity, ids = asked.entity, {edit.id for edit in hard}
    horizon = (at - shared.HORIZON) // _A_MILLISECOND << 16
    waits = shared.waiting(connection, entity, ids)
    return Material(
        shared.declaration(connection, entity),
        shared.rows(connection, entity, ids),
        shared.versions(connection, entity, [(edit.id, edit.base) for edit in hard if edit.base]),
        shared.history_of(
            connection, entity, asked.origin, {(edit.id, asked.clock_of(edit)) for edit in hard}
        ),
        {id_: clocks[asked.origin] for id_, clocks in waits.items() if asked.origin in clocks},
        shared.Stored("", pruned, horizon, "", deleted=True, body=shared.NO_BODY),
        pruned,
    )


def _check_declarations(rows: Mapping[str, shared.Stored]) -> None:
    for row in rows.values():
        if not row.deleted:
            try:
                msgspec.json.decode(row.body, type=Declaration)
            except msgspec.DecodeError as error:
                raise InvalidInput(f"cannot take the declaration of «{row.id}»: {error}") from error


def _by_frame(frames: Sequence[EditFrame], fates: Sequence[Fate]) -> list[Sequence[Fate]]:
    ends = list(itertools.accumulate((len(frame.edits) for frame in frames), initial=0))
    return [fates[begin:end] for begin, end in itertools.pairwise(ends)]


def _answer(fates: Sequence[Fate]) -> Answer:
    outcomes = {index: fate.outcome for index, fate in enumerate(fates) if fate.outcome != "edit"}
    return Answer([fate.rev for fate in fates], outcomes)


def _told(fates: Sequence[Fate], offset: int) -> list[Judged]:
    return [
        Judged(offset + index, fate.outcome, None if fate.row is None else fate.row.to_wire())
        for index, fate in enumerate(fates)
        if fate.outcome != "edit"
    ]


def _told_again(
    connection: Connection, frame: EditFrame, answer: Answer, offset: int
) -> list[Judged]:
    """As before, with the rows as they are now."""
    ids = {frame.edits[index].id for index in answer.outcomes}
    rows = shared.rows(connection, frame.entity, ids) if ids else {}
    told: list[Judged] = []
    for index, outcome in answer.outcomes.items():
        row_id, rev = frame.edits[index].id, answer.revs[index]
        row: SharedRow | None = None
        if outcome != "whole":
            gone = SharedRow(row_id, rev, 0, "", deleted=True)
            row = rows[row_id].to_wire() if row_id in rows else gone
        told.append(Judged(offset + index, outcome, row))
    return told
