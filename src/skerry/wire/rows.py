"""Shared rows as people and their tools see them: `/api/v1/entities`, `/api/v1/conflicts`, `skerry sync conflicts`.

Nodes are named by their names, or by their ids when the hub has forgotten them; the hub itself is «hub».
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.shared import Strategy

HUB = "hub"

NO_BODY = b"null"


def _null() -> msgspec.Raw:
    return msgspec.Raw(NO_BODY)


class EntityView(msgspec.Struct, frozen=True):
    """An entity with its live rows and the edits that wait for a decision. `digest` is what nodes compare theirs with."""

    entity: str
    strategy: Strategy
    rows: int
    conflicts: int
    digest: str


class RowView(msgspec.Struct, frozen=True):
    """A row as it is now. `by` made this version, which has the revision `rev`; `updated_at` is ns since 1970."""

    id: str
    rev: int
    by: str
    updated_at: int
    body: msgspec.Raw


class RowList(msgspec.Struct, frozen=True):
    """Rows in the order of their ids. `next` is the `after` for those that follow; empty at the end."""

    rows: list[RowView]
    next: str = ""


class RowPut(msgspec.Struct, frozen=True):
    """A row's new body, a JSON object. `base` is the revision that it was made on (0: there was none); null: whatever it is."""

    body: msgspec.Raw
    base: int | None = None


class RowWritten(msgspec.Struct, frozen=True):
    """What became of an edit by a person, judged like one by a node: see `shared.Judged`. `rev` is the row's now."""

    outcome: Literal["edit", "merged", "lost", "conflict"]
    rev: int


class Decision(msgspec.Struct, frozen=True):
    """A conflict that is decided, by the version `rev` of the row. `at` is ns since 1970.

    `where` is «hub» or a node. `who` asked at the hub; empty: it was a program of that node, or nobody knows.
    """

    entity: str
    id: str
    rev: int
    where: str
    who: str
    at: int


class RowVersion(msgspec.Struct, frozen=True):
    """What a row was, is, or was to be.

    now         the row
    superseded  it was the row until another version followed; not `was_row`: an edit was made on it that waits or waited
    lost        another version won; `was_row` says whether it was the row before
    merged      an edit that was merged with the row of its time; the version after it has both
    decided     it waited as a conflict, and a person has decided
    waiting     it waits as a conflict
    """

    rev: int
    by: str
    state: Literal["now", "superseded", "lost", "merged", "decided", "waiting"]
    was_row: bool
    at: int
    deleted: bool
    body: msgspec.Raw
    decision: Decision | None = None
    """Where the version has decided what waited for the row."""


class ConflictView(msgspec.Struct, frozen=True):
    """An edit that waits until a person decides. `since` is ns since 1970."""

    entity: str
    id: str
    node: str
    since: int
    deleted: bool


class Waiting(msgspec.Struct, frozen=True):
    """An edit that waits, with the body of the version that it was made on (null: none, or no longer kept)."""

    node: str
    since: int
    deleted: bool
    body: msgspec.Raw
    base_rev: int
    base: msgspec.Raw = msgspec.field(default_factory=_null)


class Conflict(msgspec.Struct, frozen=True):
    """A row that has edits waiting. `row` is the version that serves; None: it is deleted."""

    entity: str
    id: str
    row: RowView | None
    waiting: list[Waiting]


class Resolve(msgspec.Struct, frozen=True):
    """A person's decision about a row: as it is at the hub, as a node's edit says (`node`, where several wait), or `body`."""

    take: Literal["hub", "node", "body"]
    node: str = ""
    body: msgspec.Raw = msgspec.field(default_factory=_null)
