"""Who wins: the verdict about an edit, given the version that it was made on and the one that is held meanwhile.

The hub asks `judge` in the transaction that takes the edit in; a node asks `rebase` for an edit that it made while the one
before was on its way. docs/reference/sync.md has the table of what happens under which strategy. Clocks order versions
that did not know of each other, and nothing else: however wrong one is, it is never a reason to refuse.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.core.merging.bodies import decoded, encoded, same
from skerry.core.merging.fields import Side, Sides, three_way
from skerry.core.merging.rules import rules_of
from skerry.wire.shared import Declaration, Strategy

Outcome = Literal["edit", "merged", "lost", "conflict"]

_HUB = ""


class Version(msgspec.Struct, frozen=True):
    """A row at one time. `origin` is the node that made it, empty for the hub; a deleted one has the body «{}».

    A negative `rev` is that of a node's edit on which the hub has put another version: base of the node's next one.
    """

    rev: int
    hlc: int
    origin: str
    deleted: bool = False
    body: bytes = b"{}"


NOTHING = Version(0, 0, "", deleted=True)
"""What a new row was made on: the base of an edit whose base revision is 0."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of an edit.

    edit      `version` is the edit as it came; the caller gives it a revision
    merged    `version` is both together, as late as the later of both and by the edit's origin; it needs a revision, too
    lost      `version` is the held one, which stays
    conflict  `version` is the held one, which stays; the edit, `loser`, waits for a person

    `loser` is the version of which something is not to be seen in `version`; None when nothing was lost: there was no
    conflict, both sides wanted the same, or the edit is a repeat. `contested` are the places where values met (merge).
    """

    outcome: Outcome
    version: Version
    loser: Version | None = None
    contested: tuple[str, ...] = ()


def judge(
    declaration: Declaration,
    base: Version | None,
    held: Version | None,
    edit: Version,
    *,
    again: bool = False,
) -> Verdict:
    """The hub's verdict about `edit`, which was made on `base`, when `held` is the row.

    `base` is None when that version is no longer known, and NOTHING when the edit made a new row. A node's edits of a row
    come in their order, so one that is not later than the held version by the same node is a repeat of what is in it (of
    hubs there may be several, with clocks of their own). Repeats of edits that others have followed are not to be seen
    here: the caller finds them by (hlc, origin) in its history.
    `again`: somebody tells once more what another node may have told, too; else two nodes that say the same by the same
    clock have made two edits. Raises InvalidInput when a body that has to be read is none.
    """
    if held is None or (base is not None and base.rev == held.rev):
        return Verdict("edit", edit)
    if edit.origin == held.origin and edit.hlc == held.hlc:
        return Verdict("lost", held)
    follows = base is not None and base.rev < 0
    if edit.origin == held.origin != _HUB and not follows:
        if edit.hlc < held.hlc:
            return Verdict("lost", held, edit)
        if edit.deleted and base == NOTHING:
            base = None  # it had told of a row and got no answer: nobody knows of which version
    if again and edit.hlc == held.hlc and _alike(edit, held):
        return Verdict("lost", held)
    return _weighed(declaration, base, held, edit)


def rebase(declaration: Declaration, base: Version, held: Version, edit: Version) -> Verdict:
    """A node's verdict about its own `edit`, made on its edit `base` before the hub answered that with `held`.

    After «edit» and «merged» the version is to be sent as an edit of `held`. Raises InvalidInput as `judge` does.
    """
    return _weighed(declaration, base, held, edit)


def _weighed(
    declaration: Declaration, base: Version | None, held: Version, edit: Version
) -> Verdict:
    """The verdict about two versions that did not know of each other."""
    if base is not None and _alike(edit, base):
        return Verdict("lost", held)
    if base is not None and _alike(held, base):
        return Verdict("edit", edit)
    if _alike(edit, held) and not _adds(declaration, base, edit):
        return Verdict("lost", held)
    if declaration.strategy != "merge":
        return _one_of(_preferred(declaration.strategy, held, edit), held, edit)
    if held.deleted or edit.deleted:
        return _one_of(_preferred(declaration.fallback, held, edit), held, edit)
    return _merged(declaration, base, held, edit)


def _adds(declaration: Declaration, base: Version | None, edit: Version) -> bool:
    """Whether two equal changes may be more than one of them: steps of a sum."""
    sums = declaration.strategy == "merge" and "sum" in declaration.fields.values()
    return sums and base is not None and not edit.deleted


def _alike(one: Version, other: Version) -> bool:
    """Whether two versions say the same; what they say is read only where the order of keys may be all that differs."""
    if one.deleted or other.deleted:
        return one.deleted == other.deleted
    if one.body == other.body:
        return True
    return len(one.body) == len(other.body) and same(decoded(one.body), decoded(other.body))


def _preferred(strategy: Strategy, held: Version, edit: Version) -> Side | None:
    """Whose version wins as a whole; None: a person decides.

    For «central_wins» whatever the hub has accepted is central. For «edge_wins» between two nodes, and where the hub meets
    itself, the newer wins.
    """
    if strategy == "manual":
        return None
    if strategy == "edge_wins":
        return _of_edge(held, edit)
    by_hub, over_hub = edit.origin == _HUB, held.origin == _HUB
    if strategy == "central_wins" and not (by_hub and over_hub):
        return "edit" if by_hub else "held"
    return _newer(held, edit)


def _of_edge(held: Version, edit: Version) -> Side:
    if (edit.origin == _HUB) != (held.origin == _HUB):
        return "held" if edit.origin == _HUB else "edit"
    return _newer(held, edit)


def _newer(held: Version, edit: Version) -> Side:
    return "edit" if (edit.hlc, edit.origin) > (held.hlc, held.origin) else "held"


def _one_of(side: Side | None, held: Version, edit: Version) -> Verdict:
    match side:
        case "edit":
            return Verdict("edit", edit, held)
        case "held":
            return Verdict("lost", held, edit)
        case None:
            return Verdict("conflict", held, edit)


def _merged(
    declaration: Declaration, base: Version | None, held: Version, edit: Version
) -> Verdict:
    sides = Sides(
        newer=_newer(held, edit),
        edge=_of_edge(held, edit),
        preferred=_preferred(declaration.fallback, held, edit),
        based=base is not None,
    )
    before = {} if base is None else decoded(base.body)
    ours, theirs = decoded(held.body), decoded(edit.body)
    merged = three_way(rules_of(declaration), sides, before, ours, theirs)
    if merged.undecided:
        return Verdict("conflict", held, edit, merged.contested)
    lost_edit = edit if "edit" in merged.hidden else None
    lost_held = held if "held" in merged.hidden else None
    if same(merged.body, ours):
        return Verdict("lost", held, lost_edit, merged.contested)
    if same(merged.body, theirs):
        return Verdict("edit", edit, lost_held, merged.contested)
    both = replace(edit, hlc=max(held.hlc, edit.hlc), body=encoded(merged.body))
    return Verdict("merged", both, lost_edit or lost_held, merged.contested)
