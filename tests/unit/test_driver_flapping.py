"""When a driver that ends by itself counts as flapping, and when it is tried again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from skerry.kit.clock import NS
from skerry.node.drivers.flapping import (
    PAUSE,
    Look,
    Rule,
    due,
    ended,
    first_mark,
    judged,
    loops,
    marked,
    next_look,
    of_this,
    proven,
    recently,
    restarted_on_purpose,
    tried,
)
from skerry.node.store.driver_marks import DriverMark
from skerry.wire.workload import Exit, Generation, WorkloadStatus

START = 1_760_000_000 * NS
RULE = Rule()
FRESH = DriverMark("t", "made", "meta")


def after(*seconds: float, mark: DriverMark = FRESH, rule: Rule = RULE) -> DriverMark:
    """Ends so many seconds after the start, each seen as it happened."""
    for count, at in enumerate(seconds, mark.restarts + 1):
        mark = ended(mark, count, START + int(at * NS), START, rule)
    return mark


def flaps(mark: DriverMark, seconds: float, rule: Rule = RULE) -> bool:
    return loops(mark, START + int(seconds * NS), rule)


def test_case_23_more_than_four_restarts_in_a_minute_are_a_loop_and_four_are_none() -> None:
    assert not flaps(after(1, 2, 3, 4), 5)
    assert flaps(after(1, 2, 3, 4, 5), 5)
    assert after(1, 2, 3, 4, 5).total == 5


@pytest.mark.parametrize("pause", [0.05, 1, 11.9])
def test_every_end_counts_whenever_it_happens(pause: float) -> None:
    """The reference looks every 15 s and never flags one that ends at once."""
    mark = after(*(pause * n for n in range(1, 6)))
    assert flaps(mark, pause * 5)


def test_ends_that_are_further_apart_are_none() -> None:
    mark = after(*(15.1 * n for n in range(1, 40)))
    assert not flaps(mark, 15.1 * 39)
    assert len(mark.ends) == 5


@pytest.mark.parametrize(("threshold", "ends"), [(1, 2), (2, 3), (9, 10)])
def test_threshold_and_window_are_the_devices(threshold: int, ends: int) -> None:
    rule = Rule(threshold, 10.0)
    times = [0.5 * n for n in range(1, ends + 1)]
    assert flaps(after(*times, rule=rule), times[-1], rule)
    assert not flaps(after(*times[:-1], rule=rule), times[-1], rule)
    apart = [11.0 * n for n in range(1, ends + 1)]
    assert not flaps(after(*apart, rule=rule), apart[-1], rule)


def test_what_nobody_saw_is_spread_over_the_time_without_an_agent() -> None:
    once = after(1)
    hour = START + 3600 * NS
    assert recently(ended(once, 7, hour, None, RULE), hour, RULE) == 1
    soon = START + 20 * NS
    assert recently(ended(once, 7, soon, START, RULE), soon, RULE) == 5
    assert ended(once, 7, soon, START, RULE).total == 7
    unseen = ended(FRESH, 5, hour, None, RULE)
    assert not loops(unseen, hour, RULE)


def test_a_start_on_purpose_is_no_end_and_counts_anew() -> None:
    mark = after(1, 2, 3)
    assert ended(mark, 0, START, START, RULE) == replace(mark, restarts=0)
    again = ended(mark, 1, START + 4 * NS, START, RULE)
    assert (again.restarts, again.total) == (1, 4)
    assert restarted_on_purpose(mark, 9).total == 3


def test_a_marked_driver_is_tried_once_each_ten_minutes() -> None:
    mark = marked(after(1, 2, 3, 4, 5), START + 5 * NS, "meta")
    assert mark.is_held
    assert not flaps(mark, 6)
    assert due(mark, START + 6 * NS) == PAUSE - 1
    later = START + int((5 + PAUSE) * NS)
    assert due(mark, later) == 0
    trial = tried(mark, later)
    assert not trial.is_held
    assert due(trial, later) is None
    assert not loops(trial, later, RULE)
    one = ended(trial, trial.restarts + 1, later + NS, later, RULE)
    assert loops(one, later + NS, RULE)
    again = marked(one, later + NS, "meta")
    assert due(again, later + NS) == PAUSE


def test_a_trial_that_lives_longer_than_the_window_takes_the_mark_away() -> None:
    trial = tried(marked(after(1, 2, 3, 4, 5), START, "meta"), START)
    assert not proven(trial, 60.0, RULE)
    assert proven(trial, 60.1, RULE)
    assert not proven(after(1), 3600.0, RULE)


def test_a_clock_that_was_set_back_keeps_no_driver_down() -> None:
    mark = marked(FRESH, START, "meta")
    assert due(mark, START - 3600 * NS) == 0
    future = after(1, 2, 3, 4, 5)
    assert not loops(future, START - 3600 * NS, RULE)
    trial = tried(replace(future, since=START), START - 3600 * NS)
    assert not loops(trial, START - 3599 * NS, RULE)


def test_another_image_or_other_metadata_forgets_the_mark_but_not_while_it_runs() -> None:
    mark = marked(after(1, 2, 3, 4, 5), START, "meta")
    assert of_this(mark, "made", "meta") == mark
    assert of_this(mark, "other", "meta") == DriverMark("t", "other", "meta")
    cleared = of_this(mark, "made", "changed")
    assert (cleared.since, cleared.ends, cleared.total) == (None, (), 5)
    running = after(1, 2, 3)
    assert of_this(running, "made", "changed") == running


def look(seconds: float, restarts: int = 0, *, crashed: bool = False, made: str = "made") -> Look:
    """A look at a driver that runs, and has since it ended last, if it has `crashed`."""
    now = START + int(seconds * NS)
    status = WorkloadStatus(
        "w", Generation(0, 1), "running", now, restarts=restarts,
        exit=Exit(code=1, at=now) if crashed else None,
    )  # fmt: skip
    return Look(made, "meta", status, now, now)


def crashed(mark: DriverMark, *seconds: float) -> DriverMark:
    for count, at in enumerate(seconds, mark.restarts + 1):
        mark = judged(mark, look(at, count, crashed=True), RULE)
    return mark


def test_a_driver_goes_from_crash_to_mark_to_trial_to_freedom() -> None:
    mark = crashed(first_mark("t", look(0)), 1, 2, 3, 4)
    assert (mark.is_held, next_look(mark, START, RULE)) == (False, None)
    mark = crashed(mark, 5)
    assert mark.is_held
    assert next_look(mark, START + 5 * NS, RULE) == PAUSE
    mark = judged(mark, look(5 + PAUSE, 5, crashed=True), RULE)
    assert (mark.is_held, mark.trial) == (False, True)
    assert next_look(mark, START, RULE) == RULE.window
    again = judged(mark, look(6 + PAUSE, 6, crashed=True), RULE)
    assert again.is_held
    lives = look(70 + PAUSE, 5)
    free = judged(mark, Look("made", "meta", replace(lives.status, since=mark.since or 0), lives.now, lives.now), RULE)  # fmt: skip
    assert (free.since, free.ends, free.total) == (None, (), 5)


def test_a_start_on_purpose_is_no_end_and_another_image_forgets_the_mark() -> None:
    assert judged(FRESH, look(1, 3), RULE).ends == ()
    held = crashed(FRESH, 1, 2, 3, 4, 5)
    other = judged(held, look(6, 5, made="other"), RULE)
    assert (other.is_held, other.made_of, other.total) == (False, "other", 0)
