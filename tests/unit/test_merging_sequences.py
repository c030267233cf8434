"""Hunks between two sequences: right for any, small for those that people make, bounded for those that are made to hurt."""

import pytest
from tests.merging_cases import seeds

from skerry.core.merging.sequences import Hunk, hunks


def test_hunks_lead_from_the_one_to_the_other() -> None:
    for rng in seeds(1000):
        before = [rng.randrange(8) for _ in range(rng.randrange(12))]
        after = [rng.randrange(8) for _ in range(rng.randrange(12))]
        if rng.random() < 0.5:
            after = [*before[:3], *after[:2], *before[4:]]
        rebuilt, taken, new_taken = [], 0, 0
        for start, end, new_start, new_end in hunks(before, after):
            assert start - taken == new_start - new_taken
            assert start > taken or taken == 0
            rebuilt += before[taken:start] + after[new_start:new_end]
            taken, new_taken = end, new_end
        assert rebuilt + before[taken:] == after


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("", "", []),
        ("", "ab", [Hunk(0, 0, 0, 2)]),
        ("ab", "", [Hunk(0, 2, 0, 0)]),
        ("abc", "abc", []),
        ("abc", "axc", [Hunk(1, 2, 1, 2)]),
        ("abcdef", "abXcdeYf", [Hunk(2, 2, 2, 3), Hunk(5, 5, 6, 7)]),
        ("abcde", "Xbcd", [Hunk(0, 1, 0, 1), Hunk(4, 5, 4, 4)]),
        ("pabcdq", "pdabcq", [Hunk(1, 1, 1, 2), Hunk(4, 5, 5, 5)]),
        ("paxbxcq", "pxaxbq", [Hunk(1, 1, 1, 2), Hunk(4, 6, 5, 5)]),
        ("aaaa", "aa", [Hunk(2, 4, 2, 2)]),
    ],
)
def test_hunks_are_small(before: str, after: str, found: list[Hunk]) -> None:
    assert hunks(before, after) == found


def test_what_would_take_for_ever_is_one_hunk() -> None:
    """Each division uncovers one element that occurs once, next to the end of what is left."""
    before = [1]
    for n in range(2, 500):
        before += [n, n - 1]
    after = [either for n in before for either in (n, -1)]
    assert len(hunks(before, after)) < 200
