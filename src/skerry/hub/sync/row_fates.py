"""What becomes of edits of shared rows, one after the other: pure. `rows_push` reads what is needed and writes what is decided.

An edit that was made on the row as it is now stands, and no body is decoded. Everything else goes to `core.merging.judge`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from msgspec.structs import replace

from skerry.core import merging
from skerry.core.merging import Verdict, Version
from skerry.hub.store.shared import NO_BODY, Head, Stored
from skerry.hub.store.shared_writing import Changed, Kept, Wait, Why
from skerry.kit.errors import InvalidInput
from skerry.wire.shared import Declaration, Edit

NO_BASE_BODY = b"null"
"""`Edit.base_body` where there is none."""

Outcome = Literal["edit", "merged", "lost", "conflict", "whole"]


class Fate(NamedTuple):
    """What an edit is answered. `row` is the row afterwards, None where it is as the edit says."""

    outcome: Outcome
    rev: int
    row: Stored | None = None


@dataclass(frozen=True)
class Asked:
    """Edits of one entity by one writer; empty `origin`: the hub, where `who` asks. No clock counts beyond `ceiling`."""

    entity: str
    origin: str
    edits: Sequence[Edit]
    ceiling: int
    who: str = ""

    def clock_of(self, edit: Edit) -> int:
        """The edit's clock as it counts."""
        return min(edit.hlc, self.ceiling)


@dataclass(frozen=True)
class Material:
    """What judging takes: the declaration, bodies of the rows in question and of the bases, and what was judged before."""

    declaration: Declaration = field(default_factory=Declaration)
    rows: Mapping[str, Stored] = field(default_factory=dict)
    bases: Mapping[tuple[str, int], Stored] = field(default_factory=dict)
    history: Mapping[tuple[str, int], Sequence[Stored]] = field(default_factory=dict)
    """What of this writer is in the history, by id and clock."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """The clock of this writer's edit that waits, by the row's id."""
    gone: Stored | None = None
    """Stands for a deleted row that is no longer kept; `pruned_through` says which bases mean one."""
    pruned_through: int = 0


class Guard(Protocol):
    """Who may change what, besides how an entity is declared."""

    def refuses(self, row_id: str, held: Stored | None, becomes: Version, *, again: bool) -> bool:
        """Whether the row stays `held`, and does not become this."""
        ...


def to_judge(asked: Asked, heads: Mapping[str, Head], pruned_through: int) -> list[Edit]:
    """The edits that need more than heads: not made on the row as it is, patches, and those of a row that comes twice."""
    edits = asked.edits
    if not heads and len({edit.id for edit in edits}) == len(edits):
        return [edit for edit in edits if edit.kind == "patch" or 0 != edit.base <= pruned_through]
    count = Counter(edit.id for edit in edits)
    return [
        edit
        for edit in edits
        if edit.kind == "patch"
        or count[edit.id] > 1
        or not _is_on(edit, heads.get(edit.id), pruned_through)
    ]


def _is_on(edit: Edit, held: Head | None, pruned_through: int) -> bool:
    if held is None:
        return edit.base == 0 or edit.base > pruned_through
    return edit.base == held.rev


class Fates:
    """Judges edits in their order; `changed` is what is to be written then. Revisions come from `numbers`.

    With a `guard` every edit is to be judged.
    """

    def __init__(
        self,
        asked: Asked,
        heads: Mapping[str, Head],
        material: Material,
        numbers: Iterator[int],
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._asked = asked
        self._heads = heads
        self._material = material
        self._numbers = numbers
        self.changed = Changed(asked.entity, who=asked.who)

    def judge(self, judged: Collection[str]) -> list[Fate]:
        """One fate for each edit. `judged` are the ids of the edits of `to_judge`; all others simply stand."""
        if not judged:
            return self._stand_all()
        stand, weigh = self._stand, self._weigh
        return [weigh(edit) if edit.id in judged else stand(edit) for edit in self._asked.edits]

    def _stand_all(self) -> list[Fate]:
        """As `_stand` for every edit, none of which is of the same row as another: nearly all units are such."""
        origin, ceiling, changed = self._asked.origin, self._asked.ceiling, self.changed
        rows = [
            Stored(
                edit.id,
                rev,
                min(edit.hlc, ceiling),
                origin,
                gone := edit.kind == "delete",
                NO_BODY if gone else bytes(edit.body),
            )
            for edit, rev in zip(self._asked.edits, self._numbers, strict=False)
        ]
        changed.rows = {row.id: row for row in rows}
        changed.held = dict(self._heads)
        changed.settled = {edit.id for edit in self._asked.edits if edit.settles}
        return [Fate("edit", row.rev) for row in rows]

    def _stand(self, edit: Edit) -> Fate:
        deleted = edit.kind == "delete"
        body = NO_BODY if deleted else bytes(edit.body)
        clock = self._asked.clock_of(edit)
        rev = next(self._numbers)
        row = Stored(edit.id, rev, clock, self._asked.origin, deleted, body)
        self._put(edit, row)
        return Fate("edit", rev)

    def _weigh(self, edit: Edit) -> Fate:
        held = self._held(edit)
        base = self._base(edit, held)
        version = self._version(edit, base)
        if version is None:
            return Fate("whole", 0)
        if held is not None and held.rev != edit.base:
            earlier = self._earlier(version, held)
            if earlier is not None:
                return earlier
            if held.origin == version.origin and (
                held.hlc == version.hlc or version.hlc < held.hlc < edit.hlc
            ):
                # Edits by a clock that is ahead count as made now, in their order, even where the hub's clock went back.
                version = replace(version, hlc=held.hlc + 1)
        return self._decide(edit, base, held, version)

    def _decide(
        self, edit: Edit, base: Version | None, held: Stored | None, version: Version
    ) -> Fate:
        if held is None:
            return self._refused(edit, None, version, version) or self._take(edit, version)
        try:
            verdict = merging.judge(
                self._material.declaration, base, _version(held), version, again=edit.again
            )
        except InvalidInput:
            # A body that no honest node sends: it must not keep the others of its lane waiting.
            verdict = Verdict("lost", _version(held), version)
        if verdict.outcome != "lost":
            becomes = version if verdict.outcome == "conflict" else verdict.version
            if refused := self._refused(edit, held, version, becomes):
                return refused
        match verdict.outcome:
            case "edit":
                return self._take(edit, verdict.version, beats=verdict.loser is not None)
            case "merged":
                self._keep(edit.id, version, "merged")
                beats = verdict.loser == _version(held)
                taken = self._take(edit, verdict.version, beats=beats)
                return Fate("merged", taken.rev, self.changed.rows[edit.id])
            case "lost":
                if verdict.loser is not None:
                    self._keep(edit.id, version, "lost")
                return self._answer("lost", held)
            case "conflict":
                self._wait(edit, base, version)
                return self._answer("conflict", held)

    def _refused(
        self, edit: Edit, held: Stored | None, version: Version, becomes: Version
    ) -> Fate | None:
        """What the writer may not make of the row has lost."""
        if self._guard is None:
            return None
        if not self._guard.refuses(edit.id, held, becomes, again=edit.again):
            return None
        self._keep(edit.id, version, "lost")
        return self._answer("lost", held)

    def _take(self, edit: Edit, version: Version, *, beats: bool = False) -> Fate:
        row = self._named(edit.id, version)
        self._put(edit, row, beats=beats)
        return Fate("edit", row.rev)

    def _put(self, edit: Edit, row: Stored, *, beats: bool = False) -> None:
        """`beats`: what the row was has lost, and was not only superseded."""
        changed = self.changed
        earlier = changed.rows.get(row.id)
        if earlier is not None:
            changed.kept.append(Kept(earlier, "lost" if beats else "superseded", was_row=True))
        elif row.id in self._heads:
            changed.held[row.id] = self._heads[row.id]
            if beats:
                changed.lost.add(row.id)
        changed.rows[row.id] = row
        if edit.settles:
            changed.settled.add(row.id)
            self._end_wait(row.id, "decided")

    def _wait(self, edit: Edit, base: Version | None, version: Version) -> None:
        """The base is kept with it for the person who decides, also one that the hub was only told."""
        made_on = edit.base
        if base is not None and made_on and (edit.id, made_on) not in self._material.bases:
            told = self._named(edit.id, base)
            self.changed.kept.append(Kept(told, "superseded", was_row=False))
            made_on = told.rev
        made_on = max(made_on, 0)  # of a version that is not known there is nothing to show
        self._end_wait(edit.id, "lost")
        self.changed.waits[edit.id] = Wait(self._named(edit.id, version), made_on)

    def _end_wait(self, row_id: str, why: Why) -> None:
        """Of an edit before it in the same unit."""
        earlier = self.changed.waits.pop(row_id, None)
        if earlier is not None:
            self.changed.kept.append(Kept(earlier.version, why, was_row=False))

    def _keep(self, row_id: str, version: Version, why: Why) -> None:
        self.changed.kept.append(Kept(self._named(row_id, version), why, was_row=False))

    def _named(self, row_id: str, version: Version) -> Stored:
        return Stored(
            row_id, next(self._numbers), version.hlc, version.origin, version.deleted, version.body
        )

    def _answer(self, outcome: Outcome, held: Stored | None) -> Fate:
        return Fate(outcome, 0 if held is None else held.rev, held)

    def _held(self, edit: Edit) -> Stored | None:
        """The row as it is at this edit: what edits before it in the same unit have made of it."""
        held = self.changed.rows.get(edit.id) or self._material.rows.get(edit.id)
        if held is None and 0 < edit.base <= self._material.pruned_through:
            gone = self._material.gone
            return None if gone is None else gone._replace(id=edit.id)
        return held

    def _earlier(self, version: Version, held: Stored) -> Fate | None:
        """The answer to an edit that was judged before, by whatever history of the node."""
        if _is(held, version):
            return Fate("edit", held.rev)
        if self._material.waiting.get(held.id) == version.hlc:
            return self._answer("conflict", held)
        kept = self._material.history.get((held.id, version.hlc), ())
        if any(_is(each, version) for each in kept):
            return self._answer("lost", held)
        return None

    def _base(self, edit: Edit, held: Stored | None) -> Version | None:
        """The version that the edit was made on; None where it is not known any more."""
        if edit.base == 0:
            return merging.NOTHING
        if held is not None and held.rev == edit.base:
            return _version(held)
        found = self._material.bases.get((edit.id, edit.base))
        if found is not None:
            return _version(found)
        told = bytes(edit.base_body)
        return (
            None if told == NO_BASE_BODY else Version(edit.base, 0, self._asked.origin, body=told)
        )

    def _version(self, edit: Edit, base: Version | None) -> Version | None:
        """The edit as a version; None for a patch whose base is gone, or that does not fit it."""
        body = NO_BODY if edit.kind == "delete" else bytes(edit.body)
        if edit.kind == "patch":
            if base is None or base.deleted:
                return None
            try:
                body = merging.apply(base.body, body)
            except InvalidInput:
                return None
        return Version(
            edit.base,
            self._asked.clock_of(edit),
            self._asked.origin,
            edit.kind == "delete",
            body,
        )


def _is(stored: Stored, version: Version) -> bool:
    its = (stored.origin, stored.hlc, stored.deleted, stored.body)
    return its == (version.origin, version.hlc, version.deleted, version.body)


def _version(stored: Stored) -> Version:
    return Version(stored.rev, stored.hlc, stored.origin, stored.deleted, stored.body)
