"""Work beside others: how long it works at a stretch, and how long it rests."""

from skerry.kit.breath import Breath
from skerry.testing.manual_clock import ManualClock


def test_it_rests_twice_as_long_as_it_worked_and_not_before_a_millisecond() -> None:
    clock, rests = ManualClock(), []
    breathe = Breath(clock, rests.append)
    for _ in range(4):
        clock.advance(0.0003)
        breathe()
    assert rests == [0.0024]
    breathe()
    assert len(rests) == 1
    clock.advance(0.004)  # a write to the disk
    breathe()
    assert rests == [0.0024, 0.008]
    clock.advance(3.0)  # a disk that hung: no reason to rest for minutes
    breathe()
    assert rests[-1] == 0.05
