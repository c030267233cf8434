"""Who goes next on a link, and when: tables of the pure decision, and what it keeps to over a long time."""

import random
from collections import Counter

import pytest

from skerry.core.turns import (
    Bucket,
    Go,
    Later,
    Waiter,
    counted,
    decide,
    full,
    piece,
    priority_of,
)
from skerry.kit.clock import NS
from skerry.wire.shared import Priority

RATE = 100_000
OLD = 61 * NS
"""When two steps of age have passed."""


def waiter(number: int, priority: Priority, size: int = 1000, since: int = OLD) -> Waiter:
    return Waiter(number, priority, size, since)


HIGH, MEDIUM, LOW = waiter(3, "high"), waiter(2, "medium"), waiter(1, "low")
AGED = waiter(9, "low", since=0)
EMPTY = Bucket(RATE, 0.0, OLD, {})
OWED = Bucket(RATE, RATE, OLD, {"low": 1000.0})


@pytest.mark.parametrize(
    ("waiters", "bucket", "only_high", "number"),
    [
        pytest.param([LOW, MEDIUM, HIGH], full(RATE, OLD), False, 3, id="the highest class first"),
        pytest.param([LOW, MEDIUM], full(RATE, OLD), False, 2, id="then the next"),
        pytest.param([LOW], full(RATE, OLD), False, 1, id="who is alone goes"),
        pytest.param([waiter(5, "high"), waiter(4, "high", since=OLD - 1)], full(RATE, OLD), False, 4, id="of one class the oldest"),
        pytest.param([HIGH, AGED], full(RATE, OLD), False, 9, id="age makes it high, and it came first"),
        pytest.param([HIGH, LOW], OWED, False, 1, id="who is owed goes out of turn"),
        pytest.param([HIGH, waiter(1, "low", 2000)], OWED, False, 3, id="unless it wants more than that"),
        pytest.param([LOW, MEDIUM], full(RATE, OLD), True, None, id="only high, and there is none"),
        pytest.param([AGED, HIGH], full(RATE, OLD), True, 3, id="age makes nothing critical"),
        pytest.param([LOW, HIGH], full(None, OLD), False, 3, id="without a rate it is an order only"),
        pytest.param([], full(RATE, OLD), False, None, id="nobody"),
    ],
)  # fmt: skip
def test_who_goes_now(
    waiters: list[Waiter], bucket: Bucket, only_high: bool, number: int | None
) -> None:
    verdict = decide(waiters, bucket, OLD, only_high=only_high)
    assert (verdict.number if isinstance(verdict, Go) else verdict) == number


@pytest.mark.parametrize(
    ("level", "size", "seconds"),
    [
        (0, 50_000, 0.5),
        (20_000, 50_000, 0.3),
        (-100_000, 50_000, 1.5),
        (50_000, 300_000, 0.5),
    ],
)
def test_how_long_it_waits_for_its_bytes(level: float, size: int, seconds: float) -> None:
    bucket = Bucket(RATE, level, OLD, {})
    assert decide([waiter(1, "low", size)], bucket, OLD, only_high=False) == Later(1, seconds)


def test_nobody_overtakes_who_waits_for_its_bytes() -> None:
    small, large = waiter(1, "low", 10), waiter(2, "high", 50_000)
    bucket = Bucket(RATE, 100, OLD, {})
    verdict = decide([small, large], bucket, OLD, only_high=False)
    assert isinstance(verdict, Later)
    assert verdict.number == 2


def test_what_came_unexpected_is_paid_afterwards_and_a_pause_saves_one_second() -> None:
    bucket = full(RATE, 0).settled(1000, 301_000)
    assert bucket.level == -200_000
    assert bucket.refilled(2 * NS).level == 0
    assert bucket.refilled(100 * NS).level == RATE
    assert (
        bucket.refilled(100 * NS).settled(5000, 0).level == RATE
    )  # given back: never above the burst


@pytest.mark.parametrize("seed", range(5))
def test_every_class_gets_its_share_and_the_rate_is_kept(seed: int) -> None:
    """All classes always want to send: strictly by class, with a sixteenth for each of those below."""
    chance = random.Random(seed)
    now, number, moved = 0, 0, Counter[str]()
    bucket = full(RATE, now)
    waiting: dict[Priority, Waiter] = {}
    classes: tuple[Priority, ...] = ("high", "medium", "low")
    while now < 300 * NS:
        for priority in classes:
            if priority not in waiting:
                number += 1
                waiting[priority] = waiter(number, priority, chance.randint(100, 25_000), now)
        verdict = decide(list(waiting.values()), bucket, now, only_high=False)
        if isinstance(verdict, Later):
            now += int(verdict.seconds * NS) + 1
            continue
        assert isinstance(verdict, Go)
        bucket = verdict.bucket
        gone = next(one for one in waiting.values() if one.number == verdict.number)
        del waiting[gone.priority]
        moved[gone.priority] += gone.size
        assert moved.total() <= RATE * now / NS + RATE
    assert moved.total() >= 0.99 * RATE * 300
    assert moved["high"] >= 0.8 * moved.total()
    assert moved["medium"] >= moved.total() / 20
    assert moved["low"] >= moved.total() / 20


@pytest.mark.parametrize(
    ("rate", "size"),
    [(1000, 4096), (64_000, 16_000), (1_000_000, 65_536), (16_000_000, 1_000_000), (None, 1 << 20)],
)
def test_the_size_of_a_piece(rate: int | None, size: int) -> None:
    assert piece(rate) == size


@pytest.mark.parametrize(
    ("lane", "priority"),
    [
        ("event", "high"),
        ("state", "high"),
        ("keep", "medium"),
        ("sample", "low"),
        ("rows-high", "high"),
        ("rows-low", "low"),
        ("rows-medium", "medium"),
        ("other", "medium"),
    ],
)
def test_the_class_of_a_lane(lane: str, priority: Priority) -> None:
    assert priority_of(lane) == priority


def test_months_are_counted_one_by_one_and_a_clock_that_jumps_forgets_none() -> None:
    months = counted(counted({}, "2026-11", 5), "2026-11", 6)
    assert months == {"2026-11": 11}
    months = counted(counted(months, "1970-01", 1), "2027-11", 1)
    assert counted(months, "2026-11", 1)["2026-11"] == 12
    later = counted(counted(months, "2027-12", 1), "2028-01", 1)
    assert list(later) == ["2027-11", "2027-12", "2028-01"]
