"""Refusals folded: the first is told, equal ones are counted, and a flood stays small."""

from __future__ import annotations

from skerry.core.refusals import FIRST_WINDOW, LONGEST_WINDOW, MOST, Refusals
from skerry.kit.clock import NS

DAY = 86_400 * NS


def test_the_first_is_told_and_equal_ones_are_counted() -> None:
    refusals = Refusals("others")
    assert refusals.note("a", 0) == "a"
    assert refusals.note("b", 1) == "b"
    assert [refusals.note("a", at) for at in range(2, 7)] == [None] * 5
    assert refusals.due(FIRST_WINDOW - 1) == []
    assert refusals.due(FIRST_WINDOW + 1) == [("a", 5, FIRST_WINDOW)]
    assert refusals.note("b", FIRST_WINDOW + 2) == "b"


def test_windows_grow_while_it_goes_on_and_begin_anew_after_silence() -> None:
    refusals = Refusals("others")
    refusals.note("a", 0)
    now, told = 0, []
    for _ in range(12):
        assert refusals.note("a", now + 1) is None
        now += LONGEST_WINDOW
        told += refusals.due(now)
    assert [window // FIRST_WINDOW for _, _, window in told] == [1, 2, 4, 8, 16, 32, *[60] * 6]
    assert refusals.due(now + LONGEST_WINDOW) == []
    assert refusals.note("a", now + LONGEST_WINDOW) == "a"


def test_a_flood_of_different_ones_is_counted_as_one() -> None:
    refusals = Refusals("others", most=4)
    told = [refusals.note(str(number), number) for number in range(10_000)]
    assert [each for each in told if each] == ["0", "1", "2", "3", "others"]
    assert refusals.due(2 * FIRST_WINDOW) == [("others", 9_995, FIRST_WINDOW)]


def test_a_day_has_a_bound_however_cleverly_somebody_asks() -> None:
    refusals = Refusals("others", a_day=50)
    entries, counted, asked, every = 0, 0, 0, FIRST_WINDOW + 1
    days = 3
    for now in range(0, days * DAY, every):
        due = refusals.due(now)
        counted += sum(count for _, count, _ in due)
        told = [refusals.note(f"{asked} {number}", now) for number in range(2)]
        asked += 2
        entries += len(due) + len([each for each in told if each])
        counted += len([each for each in told if each])
    assert 50 * days <= entries <= (50 + MOST + 1) * days
    counted += sum(count for _, count, _ in refusals.due(days * DAY, everything=True))
    assert counted == asked


def test_nothing_that_was_counted_is_forgotten_at_the_end() -> None:
    refusals = Refusals("others")
    for _ in range(3):
        refusals.note("a", 0)
    assert refusals.due(1, everything=True) == [("a", 2, FIRST_WINDOW)]
    assert refusals.due(2, everything=True) == []
