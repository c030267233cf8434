"""What differs between two sequences (lines of a text, elements of a list): hunks, found by the elements that both have once.

Equal ends are matched first, then elements that occur once on each side, in the longest common order («patience»), and
so on between them. It takes time near to linear, gives the same for the same input, and never a wrong hunk: at worst one too large.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

_MAX_ROUNDS = 32
"""So often a stretch is divided; what is left then is one hunk."""


class Hunk(NamedTuple):
    """Elements `start` … `end - 1` of the one became `new_start` … `new_end - 1` of the other; either may be empty."""

    start: int
    end: int
    new_start: int
    new_end: int


def hunks(before: Sequence[Hashable], after: Sequence[Hashable]) -> list[Hunk]:
    """The stretches that differ, in order; between two of them there is at least one element that both have."""
    found: list[Hunk] = []
    open_stretches = [(Hunk(0, len(before), 0, len(after)), 0)]
    while open_stretches:
        stretch, rounds = open_stretches.pop()
        rest = _trimmed(before, after, stretch)
        if rest.start == rest.end and rest.new_start == rest.new_end:
            continue
        anchors = _anchors(before, after, rest) if rounds < _MAX_ROUNDS else []
        if not anchors:
            found.append(rest)
            continue
        start, new_start = rest.start, rest.new_start
        for place, new_place in [*anchors, (rest.end, rest.new_end)]:
            open_stretches.append((Hunk(start, place, new_start, new_place), rounds + 1))
            start, new_start = place + 1, new_place + 1
    return sorted(found)


def _trimmed(before: Sequence[Hashable], after: Sequence[Hashable], whole: Hunk) -> Hunk:
    """`whole` without what is equal at its ends."""
    start, end, new_start, new_end = whole
    while start < end and new_start < new_end and before[start] == after[new_start]:
        start += 1
        new_start += 1
    while start < end and new_start < new_end and before[end - 1] == after[new_end - 1]:
        end -= 1
        new_end -= 1
    return Hunk(start, end, new_start, new_end)


def _anchors(
    before: Sequence[Hashable], after: Sequence[Hashable], within: Hunk
) -> list[tuple[int, int]]:
    """Places of elements that occur once on each side, in an order that both have; as many as there are."""
    start, end, new_start, new_end = within
    counts, new_counts = Counter(before[start:end]), Counter(after[new_start:new_end])
    places = {after[place]: place for place in range(new_start, new_end)}
    pairs = [
        (place, places[before[place]])
        for place in range(start, end)
        if counts[before[place]] == 1 and new_counts[before[place]] == 1
    ]
    return _longest_rising(pairs)


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of `pairs` whose second numbers rise."""
    lowest: list[int] = []
    last_of: list[int] = []
    previous: list[int] = []
    for index, (_, new_place) in enumerate(pairs):
        length = bisect_left(lowest, new_place)
        previous.append(last_of[length - 1] if length else -1)
        lowest[length : length + 1] = [new_place]
        last_of[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    index = last_of[-1] if last_of else -1
    while index >= 0:
        chain.append(pairs[index])
        index = previous[index]
    return chain[::-1]
