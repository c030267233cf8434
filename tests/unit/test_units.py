"""Sizes and durations: what is written reads back as the same value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.kit.errors import InvalidInput
from skerry.kit.units import parse_duration, parse_size, write_duration, write_size


@given(st.just(0.0) | st.floats(1e-9, 1e12))
def test_durations_read_back(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == seconds


@given(st.integers(0, 1 << 53))
def test_sizes_read_back(size: int) -> None:
    assert parse_size(write_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (60, "1m"), (90, "90s"), (300, "5m"), (604800, "1w"), (86400.0, "1d")],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (4097, "4097B"), (64_000_000, "64MB"), (65536, "64KiB")]
)
def test_sizes_are_short(size: int, text: str) -> None:
    assert write_size(size) == text


@pytest.mark.parametrize(
    "text", ["", "5 x", "-5", "1e5s", "5m3s", "nan", "inf", "9" * 400, "True", "٣"]
)
def test_what_is_no_duration_and_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        parse_duration(text)
    with pytest.raises(InvalidInput, match="is not a size"):
        parse_size(text)
