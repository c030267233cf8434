"""What counts as what on the disk, when something has to go, and in which order."""

import os
from pathlib import Path, PurePath

import hypothesis.strategies as st
import pytest
from hypothesis import given

from skerry.kit.clock import NS
from skerry.node.limits.accounting import measure
from skerry.node.limits.storage import (
    SPARE,
    RecordFile,
    Trend,
    class_of,
    shares,
    to_evict,
)
from skerry.wire.local import Growth, StorageUsage

MB = 1_000_000
FILES = {
    PurePath("records/keep/1.seg"): RecordFile(False, last=10, acknowledged=20, backed_up=10),
    PurePath("records/keep/11.seg"): RecordFile(False, last=20, acknowledged=20, backed_up=10),
    PurePath("records/keep/21.seg"): RecordFile(False, last=30, acknowledged=20, backed_up=40),
    PurePath("records/sample/1.seg"): RecordFile(True, last=10, acknowledged=20, backed_up=10),
}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("node.db", "database"),
        ("node.db-wal", "database"),
        ("node.db.20261121.damaged", "quarantine"),
        ("records/keep/1.seg", "records backed up"),
        ("records/keep/11.seg", "records acknowledged"),
        ("records/keep/21.seg", "records unsent"),  # whatever the hub says of backups
        ("records/keep/99.seg", "records unsent"),  # made since the lanes were asked
        ("records/keep/1.seg.damaged", "quarantine"),
        ("records/sample/1.seg", "samples"),
        ("records/reserve", "reserve"),
        ("logs/cam/current.log.1", "logs"),
        ("models/files/ab", "models"),
        ("tmp/a/b", "tmp"),
        ("workloads/cam/x", "workloads"),
        ("run/keeper.log", "other"),
        ("identity.json", "other"),
    ],
)
def test_each_file_has_one_class(path: str, name: str) -> None:
    assert class_of(PurePath(path), FILES) == name


def test_a_directory_is_measured_by_blocks_and_links_once(tmp_path: Path) -> None:
    own = tmp_path / "workloads" / "cam" / "deep"
    own.mkdir(parents=True)
    (own / "data").write_bytes(bytes(10_000))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_bytes(bytes(100_000))
    (tmp_path / "models" / "b").hardlink_to(tmp_path / "models" / "a")
    (tmp_path / "models" / "c").symlink_to("/etc")
    with (own / "sparse").open("wb") as file:
        os.truncate(file.fileno(), 10**9)
    found = measure(tmp_path, {})
    assert 10_000 <= found.workloads["cam"] < 30_000
    assert 100_000 <= found.classes["models"] < 120_000
    assert (
        found.total == found.beside_records == found.classes["models"] + found.classes["workloads"]
    )
    assert found.classes["workloads"] > found.workloads["cam"]  # whole blocks


@pytest.mark.parametrize(
    ("used", "limit", "free", "wanted"),
    [
        (94 * MB, 100 * MB, 10**9, 0),
        (96 * MB, 100 * MB, 10**9, 6 * MB),
        (10**12, None, 10**9, 0),
        (10**12, None, SPARE, 0),
        (10**12, None, 0, 2 * SPARE),
        (96 * MB, 100 * MB, 0, 2 * SPARE),
    ],
)
def test_something_goes_when_the_limit_or_the_disk_is_nearly_reached(
    used: int, limit: int | None, free: int, wanted: int
) -> None:
    assert to_evict(used, limit, free) == wanted


STAGES = ["tmp", "logs", "records backed up", "models", "records acknowledged"]


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.integers(0, 6000))
def test_a_stage_gives_nothing_before_the_ones_ahead_of_it_gave_all(
    sizes: list[int], wanted: int
) -> None:
    evictable = list(zip(STAGES, sizes, strict=True))
    found = shares(wanted, evictable)
    assert sum(size for _, size in found) == min(wanted, sum(sizes))
    taken = dict(found)
    for index, (stage, _) in enumerate(evictable):
        if taken.get(stage):
            assert all(taken.get(name, 0) == size for name, size in evictable[:index])


def test_words() -> None:
    usage = StorageUsage(2000 * MB, 1200 * MB, 3000 * MB, {"records unsent": 800 * MB, "logs": 400 * MB}, {})  # fmt: skip
    assert str(usage) == "1.2 GB, 60 % of 2 GB: records unsent 800 MB, logs 400 MB; 3 GB free on the disk"  # fmt: skip


HOUR = 3600 * NS


def test_growth_is_known_after_half_an_hour_and_by_what_stays() -> None:
    trend = Trend()
    begun = {"logs": 10 * MB, "samples": 0}
    trend.note(0, begun)
    assert trend.growth(HOUR // 4, begun, 100 * MB) is None
    now = {"logs": 11 * MB, "samples": 5 * MB}
    trend.note(HOUR, now)
    assert trend.growth(HOUR, now, 48 * MB) == Growth(3600, 144 * MB, 2 * 86_400, "samples")
    assert trend.growth(HOUR, begun, 48 * MB) == Growth(3600, 0)
    less = {"logs": 9 * MB}
    assert trend.growth(HOUR, less, 48 * MB) == Growth(3600, -24 * MB)


def test_growth_is_that_of_the_last_day() -> None:
    trend = Trend()
    for quarter in range(400):
        trend.note(quarter * HOUR // 4, {"logs": quarter * quarter})
    found = trend.growth(100 * HOUR, {"logs": 160_000}, MB)
    assert found is not None
    assert 23 * 3600 <= found.seconds <= 25 * 3600


def test_growth_in_words() -> None:
    grown = Growth(3600, 210 * MB, 3 * 86_400 + 4 * 3600, "logs")
    assert str(grown) == "210 MB a day, mostly logs; full in 3d 4h"
    assert str(Growth(3600, 0)) == "0 B a day"
