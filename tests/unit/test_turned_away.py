"""When nodes come again for which a hub had no time: one after the other, as fast as it can serve them."""

import random

import pytest

from skerry.hub.api.problems import answer_error
from skerry.hub.sync.appointments import (
    EACH,
    ENOUGH,
    HELLOS,
    LATEST,
    MOST,
    OVER,
    Appointments,
    Moment,
)
from skerry.kit.errors import Busy
from skerry.node.sync.failures import Answer, judge
from skerry.node.sync.link import APART, when_asked


def test_a_thousand_come_one_after_the_other() -> None:
    book = Appointments()
    times = [book.next(Moment(100.0, 0.0)) for _ in range(1000)]
    assert times == sorted(times)
    assert times[0] == 1
    for second in range(2, 20):
        assert times.count(second) == pytest.approx(1 / EACH, abs=1)


def test_nobody_is_told_to_come_later_than_the_latest() -> None:
    book = Appointments()
    times = [book.next(Moment(100.0, 0.0)) for _ in range(int(2 * LATEST / EACH))]
    assert max(times) == LATEST


def test_who_is_turned_away_later_is_not_told_of_a_storm_that_is_over() -> None:
    book = Appointments()
    for _ in range(1000):
        book.next(Moment(100.0, 0.0))
    assert book.next(Moment(110.0, 0.0)) == pytest.approx(1 + 1000 * EACH - 10, abs=1)
    assert book.next(Moment(200.0, 0.0)) == 1


def _storm(book: Appointments, at: float, spent: float, cost: float, rounds: int = 10) -> float:
    """Hellos are answered, each costs `cost`, and some are turned away; returns when it is."""
    for _ in range(rounds * ENOUGH):
        at, spent = at + cost, spent + cost
        book.next(Moment(at, spent))
        book.answered(Moment(at, spent))
    return at


@pytest.mark.parametrize("cost", [0.003, 0.03])
def test_a_hub_that_is_faster_or_slower_lets_them_come_as_fast_as_it_serves_them(
    cost: float,
) -> None:
    book = Appointments()
    at = _storm(book, 100.0, 5.0, cost)
    assert book.each == pytest.approx(HELLOS * cost, rel=0.02)
    later = Moment(at + 2 * LATEST, 0.0)
    times = [book.next(later) for _ in range(int(10 / book.each))]
    assert max(times) == pytest.approx(11, abs=1)


def test_what_a_hub_does_when_nobody_is_turned_away_is_no_measure() -> None:
    book = Appointments()
    for number in range(10 * ENOUGH):
        book.answered(Moment(100.0 + number, 5.0 + number))
    assert book.each == EACH
    book.next(Moment(1000.0, 600.0))
    for number in range(10 * ENOUGH):
        at = 1000.0 + OVER + 1 + number
        book.answered(Moment(at, at))
    assert book.each == EACH


def test_one_measurement_that_cannot_be_does_not_end_all_visits() -> None:
    book = Appointments()
    _storm(book, 100.0, 5.0, 10.0)
    assert book.each <= MOST


def test_a_node_comes_when_it_was_asked_to() -> None:
    chance = random.Random(1)
    times = [when_asked(Busy("cannot answer: the test", 7), chance) for _ in range(100)]
    assert 7 <= min(times) < 7 + APART / 4 < 7 + APART * 3 / 4 < max(times) < 7 + APART


def test_the_hub_says_in_its_answer_when_to_come() -> None:
    answer = answer_error(None, Busy("cannot answer: the test", 7))  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("7", 7),
        ("", 1),
        ("0", 1),
        ("86400", 60),
        ("-5", 1),
        ("Sun, 22 Nov 2026 01:00:00 GMT", 1),
    ],
    ids=["seconds", "nothing", "zero", "a day", "negative", "date"],
)
def test_a_node_reads_it_and_believes_no_gateway_that_exaggerates(said: str, after: int) -> None:
    error = judge(Answer(429, b"", said), "say hello", "http://hub")
    assert isinstance(error, Busy)
    assert error.after == after


def test_what_a_hub_did_between_two_storms_counts_for_neither() -> None:
    """The first was over before it had been measured."""
    book = Appointments()
    book.next(Moment(100.0, 5.0))
    book.answered(Moment(100.1, 5.1))
    begin, spent = 3700.0, 105.0
    for number in range(ENOUGH):
        book.next(Moment(begin + number * 0.01, spent + number * 0.01))
        book.answered(Moment(begin + number * 0.01, spent + number * 0.01))
    assert book.each == pytest.approx((EACH + HELLOS * 0.01) / 2, rel=0.1)
