"""Admission of push units: every way to cut, repeat and confuse a history."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.core.lanes import Admit, Diverged, Gap, admit, extend
from skerry.wire.sync import NO_CHAIN, LanePoint, PushUnit

FRAMES = [b"a", b"bb", b"ccc", b"d", b"ee"]
SIZES = [1, 2, 3, 1, 2]


def points(frames: list[bytes], sizes: list[int]) -> list[LanePoint]:
    found = [LanePoint()]
    for frame, size in zip(frames, sizes, strict=True):
        found.append(LanePoint(found[-1].n + size, extend(found[-1].chain, frame)))
    return found


POINTS = points(FRAMES, SIZES)


def unit(start: int, end: int, *, skipped: bool = False, previous: str | None = None) -> PushUnit:
    return PushUnit(
        incarnation="i",
        lane="keep",
        first=POINTS[start].n + 1,
        previous=previous or POINTS[start].chain,
        boot_id="b",
        frames=[msgspec.Raw(frame) for frame in FRAMES[start:end]],
        skipped=skipped,
    )


@given(
    held=st.integers(0, 5), start=st.integers(0, 5), length=st.integers(0, 5), skipped=st.booleans()
)
def test_any_cut_of_one_history(held: int, start: int, length: int, skipped: bool) -> None:
    end = min(start + length, 5)
    decision = admit(POINTS[held], unit(start, end, skipped=skipped), SIZES[start:end])
    if start > held and not skipped:
        assert decision == Gap(POINTS[held])
    else:
        assert decision == Admit(
            start=min(max(held - start, 0), end - start), point=POINTS[max(held, end)]
        )


def test_the_same_number_with_another_content_is_another_history() -> None:
    other = points([b"a", b"XX", b"ccc"], SIZES[:3])
    assert admit(other[2], unit(2, 4), SIZES[2:4]) == Diverged(other[2])
    assert admit(other[2], unit(0, 4), SIZES[0:4]) == Diverged(other[2])


def test_a_frame_across_the_held_point_is_another_history() -> None:
    held = LanePoint(2, "f" * 16)
    assert admit(held, unit(0, 3), SIZES[0:3]) == Diverged(held)


def test_a_repeat_that_ends_before_the_held_point_is_known() -> None:
    assert admit(POINTS[5], unit(0, 2), SIZES[0:2]) == Admit(start=2, point=POINTS[5])


def test_the_chain_is_a_function_of_history() -> None:
    assert extend(NO_CHAIN, b"x") == extend(NO_CHAIN, b"x") != extend(extend(NO_CHAIN, b""), b"x")
    assert len(extend(NO_CHAIN, b"x")) == 16


def test_sizes_and_frames_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        admit(POINTS[0], unit(0, 2), [1])
