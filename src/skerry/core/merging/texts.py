"""Merging of texts by lines, as `git merge` does it: changes of different lines are both taken."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from skerry.core.merging.sequences import hunks


class _Change(NamedTuple):
    """Lines `start` … `end - 1` of the base become `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


def merge_lines(base: str, one: str, other: str) -> str | None:
    """Both sides' changes of `base` together; None when they touch the same lines. The sides may be swapped."""
    lines = base.split("\n")
    changes = sorted({*_changes(lines, one), *_changes(lines, other)})
    if any(_touch(first, second) for first, second in pairwise(changes)):
        return None
    merged: list[str] = []
    taken = 0
    for change in changes:
        merged += lines[taken : change.start]
        merged += change.lines
        taken = change.end
    return "\n".join(merged + lines[taken:])


def _changes(lines: list[str], now: str) -> list[_Change]:
    new = now.split("\n")
    return [
        _Change(hunk.start, hunk.end, tuple(new[hunk.new_start : hunk.new_end]))
        for hunk in hunks(lines, new)
    ]


def _touch(first: _Change, second: _Change) -> bool:
    """Whether two changes, in their order, cannot both be made: an insertion has no place beside another change."""
    if second.start == first.end:
        return first.start == first.end or second.start == second.end
    return second.start < first.end
