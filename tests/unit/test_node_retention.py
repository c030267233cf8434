"""Which files of records may go: never what the hub lacks, and the rest by backup or after seven days."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from skerry.kit.clock import NS
from skerry.node.data.retention import KEEP_ACKNOWLEDGED, Moment, freeable_through
from skerry.node.store.segments import Segment, Times
from skerry.wire.sync import NO_CHAIN

DAY = 86_400 * NS
NOW = Moment(wall=1_000 * DAY, monotonic=100 * DAY, boot_id="this")


def segment(first: int, last: int, *, age: int, boot: str = "this") -> Segment:
    times = Times(0, 0, NOW.wall - age, NOW.monotonic - age)
    return Segment(Path("x"), first, last, NO_CHAIN, NO_CHAIN, boot, 100, times)


LANE = [
    segment(1, 10, age=20 * DAY),
    segment(11, 20, age=8 * DAY),
    segment(21, 30, age=6 * DAY),
    segment(31, 40, age=0),
]


def test_after_seven_days_whole_acknowledged_files_go() -> None:
    assert KEEP_ACKNOWLEDGED == 7 * DAY
    assert freeable_through(LANE, 40, 0, NOW) == 20
    assert freeable_through(LANE, 19, 0, NOW) == 10


def test_what_is_in_a_backup_goes_at_once() -> None:
    assert freeable_through(LANE, 40, 30, NOW) == 30
    assert freeable_through(LANE, 40, 29, NOW) == 20
    assert freeable_through(LANE, 40, 100, NOW) == 40


def test_a_backup_of_more_than_was_acknowledged_frees_no_more() -> None:
    assert freeable_through(LANE, 10, 100, NOW) == 10


def test_nothing_acknowledged_or_nothing_there() -> None:
    assert freeable_through(LANE, 0, 100, NOW) == 0
    assert freeable_through([], 100, 100, NOW) == 0


def test_within_a_boot_a_jump_of_the_wall_clock_ages_nothing() -> None:
    jumped = Moment(NOW.wall + 3650 * DAY, NOW.monotonic, "this")
    assert freeable_through(LANE, 40, 0, jumped) == 20
    other_boot = [segment(1, 10, age=6 * DAY, boot="earlier")]
    assert freeable_through(other_boot, 10, 0, NOW) == 0
    assert freeable_through(other_boot, 10, 0, jumped) == 10


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), max_size=10),
    st.integers(0, 400),
    st.integers(0, 400),
)
def test_what_the_hub_does_not_have_never_goes(
    files: list[tuple[int, int]], acknowledged: int, backed_up: int
) -> None:
    lane, first = [], 1
    for count, age in files:
        lane.append(segment(first, first + count - 1, age=age * DAY))
        first += count
    through = freeable_through(lane, acknowledged, backed_up, NOW)
    assert through <= acknowledged
    assert through in {0, *(each.last for each in lane)}
