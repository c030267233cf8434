"""Shared rows: documents that hub and nodes both write, as they travel. See docs/adr/0018.

An *entity* is a kind of shared rows («recipe»), declared by a row of the entity «entity» itself. A node pushes edits
in frames of the lanes «rows-high», «rows-medium» and «rows-low», pulls each entity by a cursor of its own, and
compares digests of 256 buckets when it has everything. Bodies are JSON objects as `core.merging.canonical` writes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from skerry.wire.codec import decode
from skerry.wire.sync import Pull, PullReply

Strategy = Literal["last_modified", "central_wins", "edge_wins", "merge", "manual"]
FieldRule = Literal["lww", "max", "min", "sum", "union", "text", "edge"]
Priority = Literal["high", "medium", "low"]

DECLARATIONS = "entity"
"""The entity whose rows declare the others: id is an entity's name, body a `Declaration`."""

BUCKETS = 256

MAX_ROW = 1024 * 1024
"""Bytes of a body as `core.merging.canonical` writes it. The hub takes no larger one, so no side keeps one that somebody writes."""


def _no_fields() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


def _null() -> msgspec.Raw:
    return msgspec.Raw(b"null")


class Declaration(msgspec.Struct, frozen=True):
    """How an entity is synced.

    `fields` has the rules of single fields by dotted path, «*» for every element of a list («steps.*.done») or any field.
    A field without a rule that both sides changed falls to `fallback`; «edge» holds for all below it that has no rule of its own. `keys` names the field by which the elements of a
    list are one and the same («id» where it says nothing and all elements have one). `settled` names the parts that the
    hub's settings say («priority», «fields.cooked»): programs that say otherwise contradict nothing. `edge_strategy` is kept as somebody said it; nothing is done with it yet.
    """

    strategy: Strategy = "last_modified"
    fallback: Literal["last_modified", "central_wins", "edge_wins", "manual"] = "last_modified"
    fields: dict[str, FieldRule] = {}
    keys: dict[str, str] = {}
    priority: Priority = "medium"
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 2500
    edge_strategy: str = ""
    settled: list[str] = []


OF_DECLARATIONS = Declaration(strategy="merge", priority="high")
"""How declarations themselves are synced: of two made apart, the entity has the rules of both, else what the later says."""


class Edit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of a row by a node.

    `base` is the hub's revision that it was made on, 0 for a new row, -1 for a version that the hub does not have.
    `put` carries the whole body, `patch` a patch (`core.merging.diff`) against the body of `base`. `settles` says that
    it decides the row's conflicts.
    `base_body` is the body of `base`, for a hub that no longer has it (`Judged` said «whole») or, with base -1, never had
    it: an edit of the node on which the hub put another version; else null. `again` says that it is told once more, as of
    a row that the hub has lost, maybe by several nodes: the same version with the same clock is then no second edit.
    """

    id: str
    base: int
    hlc: int
    kind: Literal["put", "patch", "delete"]
    body: msgspec.Raw = msgspec.field(default_factory=_no_fields)
    settles: bool = False
    base_body: msgspec.Raw = msgspec.field(default_factory=_null)
    again: bool = False


class EditFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Edits of one entity, frozen for sending: the bytes of one frame of a row lane.

    `declared` is the node's edit of the entity's declaration, where the hub may not have it yet: lanes overtake each other,
    and it has to judge these edits by it. The edit goes on its own lane, too.
    """

    entity: str
    edits: list[Edit]
    declared: Edit | None = None


class SharedRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One accepted version of a row.

    `origin` is the node that made it, empty for the hub. `base` other than 0: `body` is a patch against that revision.
    """

    id: str
    rev: int
    hlc: int
    origin: str
    deleted: bool = False
    body: msgspec.Raw = msgspec.field(default_factory=_no_fields)
    base: int = 0


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """What became of the edit at `index` of a unit, where it is not simply the row now.

    merged    `row` is both sides' changes together
    lost      `row` has won; the edit is kept in the hub's history
    conflict  `row` keeps serving; the edit waits at the hub until a person decides
    whole     the hub no longer has the base of this patch: send the whole body, and `base_body` of it
    """

    index: int
    outcome: Literal["merged", "lost", "conflict", "whole"]
    row: SharedRow | None = None


def judged_of(told: msgspec.Raw) -> list[Judged]:
    """What `sync.PushReply.judged` says. Raises InvalidInput."""
    return decode(told, list[Judged], "what became of edits")


class RowsPull(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node asks for changes of entities, in this order. An empty cursor: it holds nothing of that entity.

    `limits` has those that want fewer rows at a time. `most` is how many bytes of rows the answer may have before
    compression, unless a single one has more; 0: as many as the hub sends at once.
    """

    cursors: dict[str, str]
    limit: int = 1000
    limits: dict[str, int] = {}
    most: int = 0


class RowsPart(msgspec.Struct, frozen=True):
    """Changes of one entity in the order of their revisions, and where the node is after them.

    `digest` is the hub's over the whole entity, when there is no `more`, and `waiting` the rows of which an edit of the
    node waits for a person. `repair` says that the cursor could not be
    followed: compare buckets instead. «horizon»: what the hub does not have was deleted; «lost»: the hub was put back
    and may have lost it.
    """

    entity: str
    rows: list[SharedRow]
    cursor: str
    more: bool
    digest: str = ""
    repair: Literal["", "horizon", "lost"] = ""
    waiting: list[str] = []


class RowsPage(msgspec.Struct, frozen=True):
    """The answer to `RowsPull`; entities that did not fit are left out and asked for again."""

    parts: list[RowsPart]
    hub_time: int


class Round(msgspec.Struct, frozen=True):
    """A node's questions after its states and after shared rows at the same moment."""

    state: Pull
    rows: RowsPull


class RoundReply(msgspec.Struct, frozen=True):
    """The answers to a `Round`, as to each question alone."""

    state: PullReply
    rows: RowsPage


class Buckets(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's sums of one entity, `BUCKETS` of them. `most`: bytes of the answer, unless a single bucket has more; 0: no limit."""

    entity: str
    sums: list[int]
    most: int = 0


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A row that the hub has in a bucket; `mark` is `core.merging.mark` of it, 0 when it is deleted."""

    id: str
    rev: int
    hlc: int
    mark: int


class BucketsReply(msgspec.Struct, frozen=True):
    """The hub's rows of the buckets whose sums differ, at most so many buckets at a time; `more` when others differ too."""

    differing: dict[int, list[Held]]
    more: bool


class RowsWanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node asks for whole rows by their ids; those that are not there are left out of the answer, a `RowsPart`.

    Its rows are in the order of the ids and it has no cursor. `more`: ask again for the ids after the last row's.
    `most` as in `RowsPull`.
    """

    entity: str
    ids: list[str]
    most: int = 0
