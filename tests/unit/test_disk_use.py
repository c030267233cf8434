"""When a disk runs short, and which driver has to go for it."""

from __future__ import annotations

import pytest

from skerry.node.drivers.disk_use import (
    DRIVERS_PART,
    LATEST,
    SOONEST,
    Space,
    Use,
    chosen,
    greatest,
    pause,
    share,
)

GB, MB = 1 << 30, 1 << 20


@pytest.mark.parametrize(
    ("size", "watermark"),
    [(64 * MB, 16 * MB), (GB, 64 * MB), (32 * GB, 32 * GB // 20), (2000 * GB, 4 * GB)],
)
def test_the_watermark_is_a_part_of_the_disk(size: int, watermark: int) -> None:
    assert Space(size, watermark - 1).is_short
    assert not Space(size, watermark).is_short
    assert not Space(size, watermark).is_well
    assert Space(size, watermark * 5 // 4).is_well


def test_the_greatest_of_those_that_hold_more_than_they_may_goes() -> None:
    small, big = Use("a", 3 * GB, "/a", 2 * GB), Use("b", 5 * GB, "/b", 2 * GB)
    within, free = Use("c", 9 * GB, "/c", 10 * GB), Use("d", 99 * GB, "/d", 0)
    assert chosen([small, big, within, free]) == big
    assert chosen([small, within, free]) == small
    assert chosen([within, free]) is None
    assert greatest([small, big, within, free]) == free
    assert greatest([Use("a", 0, "/a", 1)]) is None
    assert greatest([]) is None


def test_a_share_is_the_setting_or_a_part_of_the_disk() -> None:
    assert share(None, DRIVERS_PART, 32 * GB) == 32 * GB // 10
    assert share(5, DRIVERS_PART, 32 * GB) == 5
    assert share(0, DRIVERS_PART, 32 * GB) == 0


def test_nobody_fills_a_disk_between_two_looks() -> None:
    roomy, tight = Space(32 * GB, 30 * GB), Space(32 * GB, 32 * GB // 20 + 400_000_000)
    assert pause([roomy]) == LATEST
    assert pause([roomy, tight]) == pytest.approx(2.0)
    assert pause([Space(32 * GB, 0)]) == SOONEST
