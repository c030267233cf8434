"""Which files of records may go: never what the hub lacks, and the rest by backup or after seven days."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.stream_rules import Rule, Rules
from skerry.kit.clock import NS
from skerry.node.data.retention import KEEP_ACKNOWLEDGED, Moment, freeable_through, ruled_through
from skerry.node.data.stream_use import Use
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


def lane(*ages_in_days: float) -> list[Segment]:
    """Files of ten records, the oldest first, each with a path of its own."""
    files = []
    for index, age in enumerate(ages_in_days):
        one = segment(10 * index + 1, 10 * index + 10, age=int(age * DAY))
        files.append(msgspec.structs.replace(one, path=Path(str(index))))
    return files


def holds(**bytes_of: int) -> dict[tuple[str, str], Use]:
    return {(name, "w"): Use(10, size) for name, size in bytes_of.items()}


CAM_FOR_A_DAY = Rules.of([Rule("cam*", keep=86_400)])


def test_a_file_goes_when_the_time_of_all_its_streams_is_over() -> None:
    files = lane(3, 2, 1.5, 0.5)
    contents = {file.path: holds(cam=5, cam2=5) for file in files}
    assert ruled_through(files, contents, CAM_FOR_A_DAY, NOW, 0) == 30
    contents[files[1].path] = holds(cam=5, env=5)  # of «env» no rule speaks: seven days
    assert ruled_through(files, contents, CAM_FOR_A_DAY, NOW, 0) == 10
    assert ruled_through(files, contents, CAM_FOR_A_DAY, NOW, 20) == 30  # it is in a backup
    assert ruled_through(files, contents, CAM_FOR_A_DAY, NOW, 20, strictly=True) == 10


def test_a_rule_may_keep_longer_than_what_holds_without_it() -> None:
    files = lane(20, 9)
    contents = {file.path: holds(cam=5) for file in files}
    rules = Rules.of([Rule("cam", keep=10 * 86_400)])
    assert ruled_through(files, contents, rules, NOW, 100) == 10
    assert ruled_through(files, contents, Rules.of([Rule("cam", keep=30 * 86_400)]), NOW, 100) == 0


def test_by_bytes_the_oldest_files_go_as_soon_as_newer_ones_hold_as_much() -> None:
    files = lane(0.4, 0.3, 0.2, 0.1)
    contents = {file.path: holds(cam=100) for file in files}
    for most, through in ((100, 30), (150, 20), (300, 10), (301, 0)):
        rules = Rules.of([Rule("cam", bytes=most)])
        assert ruled_through(files, contents, rules, NOW, 0) == through


def test_a_file_that_nobody_has_looked_into_stays() -> None:
    files = lane(20, 19)
    contents = {files[1].path: holds(cam=1)}
    assert ruled_through(files, contents, CAM_FOR_A_DAY, NOW, 100) == 0
