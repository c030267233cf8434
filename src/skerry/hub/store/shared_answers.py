"""What the edits of each frame were answered, kept until the node has gone on by two, so that a repeat is told the same.

Only what cannot be read again is kept: revisions, as runs of successive ones, and outcomes. A row that an answer
brings is the row at the time of asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, select

from skerry.hub.store import bulk
from skerry.hub.store.shared_tables import shared_answer
from skerry.wire.codec import encode
from skerry.wire.sync import Lane

Outcome = Literal["merged", "lost", "conflict", "whole"]


_FORGET = delete(shared_answer).where(
    shared_answer.c.node_id == bindparam("node_id"),
    shared_answer.c.incarnation == bindparam("incarnation"),
    shared_answer.c.lane == bindparam("lane"),
    shared_answer.c.n < bindparam("number"),
)


class Whose(msgspec.Struct, frozen=True):
    """A lane of a node's incarnation."""

    node_id: str
    incarnation: str
    lane: Lane


class Answer(msgspec.Struct, frozen=True):
    """To the edits of one frame. `outcomes` has those that are more than a revision, by the edit's index in the frame."""

    revs: list[int]
    outcomes: dict[int, Outcome]


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    runs: list[tuple[int, int]]
    outcomes: dict[int, Outcome]


def read(connection: Connection, lane: Whose, first: int, last: int) -> dict[int, Answer]:
    """The answers to frames `first` … `last` by their numbers; those that are no longer kept are missing."""
    its = shared_answer.c
    query = select(its.n, its.answer).where(_of(lane), its.n.between(first, last))
    return {row.n: _unpacked(row.answer) for row in connection.execute(query)}


def write(
    connection: Connection, lane: Whose, answers: Mapping[int, Answer], from_number: int, at: int
) -> None:
    """Keeps `answers`, and forgets those that the node cannot ask for any more, now that it sends frame `from_number`.

    It may take over the answer to the frame before while this one is on its way, and die meanwhile.
    """
    who = (lane.node_id, lane.incarnation, lane.lane)
    gone = dict(zip(("node_id", "incarnation", "lane"), who, strict=True))
    connection.execute(_FORGET, {**gone, "number": from_number - 1})
    rows = [(*who, n, at, _packed(answer)) for n, answer in answers.items()]
    bulk.put(connection, shared_answer, rows)


def _of(lane: Whose) -> ColumnElement[bool]:
    its = shared_answer.c
    return and_(
        its.node_id == lane.node_id, its.incarnation == lane.incarnation, its.lane == lane.lane
    )


def _packed(answer: Answer) -> bytes:
    return encode(_Kept(_runs(answer.revs), answer.outcomes))


def _unpacked(kept: bytes) -> Answer:
    found = msgspec.json.decode(kept, type=_Kept)
    revs = [rev for first, count in found.runs for rev in range(first, first + count)]
    return Answer(revs, found.outcomes)


def _runs(revs: Sequence[int]) -> list[tuple[int, int]]:
    if revs and list(revs) == list(range(revs[0], revs[0] + len(revs))):
        return [(revs[0], len(revs))]  # as nearly always
    runs: list[tuple[int, int]] = []
    for rev in revs:
        if runs and rev == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((rev, 1))
    return runs
