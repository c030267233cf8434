"""Rows of models (`skerry.sdk.model`) as a workload asks its node for them, or a person's program the hub.

The routes are the same at both: `…/{entity}` declares, `…/{entity}/changes` changes any number of rows at once,
`…/{entity}/find` and `…/{entity}/count` look for them. Bodies are JSON objects without the field `id`.
docs/reference/entities.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from skerry.wire.shared import Declaration

RowStatus = Literal["local_only", "pending", "syncing", "synced", "conflict", "failed"]
"""local_only: of an entity that is not shared; the others as of shared rows. At the hub a row is «synced» or «conflict»."""

MAX_CHANGES = 5000
"""Changes in one request."""

MAX_FOUND = 1000
"""Rows in one answer."""

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of bodies in one answer, unless a single one has more."""


def _null() -> msgspec.Raw:
    return msgspec.Raw(b"null")


class Declare(msgspec.Struct, frozen=True):
    """How an entity is to be kept. `local`: on this node only. `replace`: even where it is declared otherwise."""

    declaration: Declaration = Declaration()
    local: bool = False
    replace: bool = False


class Declared(msgspec.Struct, frozen=True):
    """How it is kept."""

    declaration: Declaration
    local: bool


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """The version that an update was made on: its `revision`, the hub's revision of it, its body."""

    revision: int
    rev: int
    body: msgspec.Raw


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One row's change. `put` creates or updates; of a row that is there, `update` and `put` leave fields alone that `body` lacks.

    `expected` is the revision that the row must have. `read` is what the update was made on: where the row is another by
    now, both changes meet as the entity's strategy says.
    """

    kind: Literal["create", "update", "put", "delete", "settle"]
    id: str
    body: msgspec.Raw = msgspec.field(default_factory=_null)
    expected: int | None = None
    read: Reading | None = None


class Changes(msgspec.Struct, frozen=True):
    """Changes of one entity, all of them or none. `again`: an answer was lost, so they may have been made already."""

    changes: list[Change]
    again: bool = False


class Written(msgspec.Struct, frozen=True, array_like=True):
    """A row after its change; `body` is null unless it is another than was given. `there`: there was one before."""

    revision: int
    rev: int
    there: bool
    body: msgspec.Raw = msgspec.field(default_factory=_null)


class ChangesMade(msgspec.Struct, frozen=True):
    """One for each change, in their order."""

    rows: list[Written]


class Filter(msgspec.Struct, frozen=True, array_like=True):
    """The field at a dotted `path` has this value; or, `or_absent`, it is not there."""

    path: str
    value: msgspec.Raw
    or_absent: bool = False


class Find(msgspec.Struct, frozen=True):
    """Rows in the order of their ids: those of `ids` when it is given, else those whose ids begin with `prefix` and come after `after`."""

    ids: list[str] | None = None
    prefix: str = ""
    where: list[Filter] = []
    after: str = ""
    limit: int = MAX_FOUND


class EntityRow(msgspec.Struct, frozen=True, array_like=True):
    """A row. `revision` changes with it and is compared where it was read only; `rev` is the hub's. `by` made it: a node's id, or empty for the hub."""

    id: str
    revision: int
    rev: int
    status: RowStatus
    by: str
    body: msgspec.Raw


class Found(msgspec.Struct, frozen=True):
    """`next` is the `after` for those that follow; empty at the end."""

    rows: list[EntityRow]
    next: str = ""


class Count(msgspec.Struct, frozen=True):
    """How many rows fit."""

    rows: int


class WaitingEdit(msgspec.Struct, frozen=True):
    """An edit that waits for a decision. Each body is null where there is none: deleted, or not known.

    `ours` is the edit, `base` what it was made on; `node` made it.
    """

    id: str
    node: str
    base: msgspec.Raw
    ours: msgspec.Raw


class WaitingEdits(msgspec.Struct, frozen=True):
    """Those of one entity."""

    edits: list[WaitingEdit]
