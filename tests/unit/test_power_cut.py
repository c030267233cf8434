"""The disk that loses its power: what it must keep, what it may lose, and that nothing is written past it."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.kit.disk import Disk
from skerry.testing.power_cut import FATES, SECTOR, Fate, PowerCut, Volume
from skerry.testing.power_cut_disk import PowerCutDisk

OLD, NEW = b"o" * 2000, b"n" * 3000


def make_directory(disk: Disk, root: Path) -> None:
    disk.make_directory("test", root / "a/b")
    disk.write_atomic("test", root / "a/b/file", NEW)


def write_atomic(disk: Disk, root: Path) -> None:
    disk.write_atomic("test", root / "old", NEW)


def rename(disk: Disk, root: Path) -> None:
    disk.rename("test", root / "old", root / "new")


def rename_elsewhere(disk: Disk, root: Path) -> None:
    disk.rename("test", root / "old", root / "place/new")


def append(disk: Disk, root: Path) -> None:
    fd = disk.open_append("test", root / "old")
    disk.append("test", fd, NEW)
    disk.sync("test", fd)
    os.close(fd)


def truncate(disk: Disk, root: Path) -> None:
    disk.truncate("test", root / "old", 7)


def drop(disk: Disk, root: Path) -> None:
    disk.unlink("test", root / "old")
    disk.sync_directory("test", root)


DURABLE: list[tuple[Callable[[Disk, Path], None], dict[str, bytes | None]]] = [
    (make_directory, {"old": OLD, "place": None, "a": None, "a/b": None, "a/b/file": NEW}),
    (write_atomic, {"old": NEW, "place": None}),
    (rename, {"new": OLD, "place": None}),
    (rename_elsewhere, {"place": None, "place/new": OLD}),
    (append, {"old": OLD + NEW, "place": None}),
    (truncate, {"old": OLD[:7], "place": None}),
    (drop, {"place": None}),
]


def volume_of(root: Path, seed: int = 1, fate: Fate | None = None) -> Volume:
    (root / "old").write_bytes(OLD)
    (root / "place").mkdir()
    return Volume(root, random.Random(seed), fates=(fate,) if fate else FATES)


def cut_now(volume: Volume) -> PowerCut:
    """After what was done, in an operation of its own."""
    volume.cut_after(1)
    volume.open(volume.root / "after")
    assert volume.cut is not None
    return volume.cut


def left(cut: PowerCut) -> dict[str, bytes | None]:
    return {str(path): content for path, content in cut.left.items() if str(path) != "after"}


@pytest.mark.parametrize("fate", sorted(set(FATES)))
@pytest.mark.parametrize(
    ("act", "expected"), DURABLE, ids=lambda each: getattr(each, "__name__", "")
)
def test_what_the_disk_calls_durable_is_there(
    tmp_path: Path, act: Callable[[Disk, Path], None], expected: dict[str, bytes | None], fate: Fate
) -> None:
    volume = volume_of(tmp_path, fate=fate)
    act(PowerCutDisk(volume), tmp_path)
    assert volume.untold() == []
    assert left(cut_now(volume)) == expected


@pytest.mark.parametrize("seed", range(30))
def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path: Path, seed: int) -> None:
    volume = volume_of(tmp_path, seed)
    volume.cut_after(1 + seed % 5)
    PowerCutDisk(volume).write_atomic("test", tmp_path / "old", NEW)
    assert volume.cut is not None
    assert volume.cut.left[Path("old")] in (OLD, NEW)


def test_without_sync_nothing_is_certain_and_sectors_are_whole(tmp_path: Path) -> None:
    """Over many cuts: appended bytes are there, not there, there in part and with holes, but by whole sectors."""
    found: set[str] = set()
    for seed in range(200):
        root = tmp_path / str(seed)
        root.mkdir()
        volume = volume_of(root, seed)
        disk = PowerCutDisk(volume)
        fd = disk.open_append("test", root / "old")
        disk.append("test", fd, NEW)
        os.close(fd)
        content = cut_now(volume).left[Path("old")]
        assert content is not None
        assert content[: len(OLD)] == OLD
        tail = content[len(OLD) :]
        sectors = [
            tail[:48],
            *(tail[start : start + SECTOR] for start in range(48, len(tail), SECTOR)),
        ]
        assert all(set(sector) <= {0} or set(sector) == {NEW[0]} for sector in sectors if sector)
        whole = tail == NEW
        found.add("whole" if whole else "none" if not tail else "holes" if 0 in tail else "short")
    assert found == {"whole", "none", "holes", "short"}


def test_names_may_go_where_their_files_were_synced(tmp_path: Path) -> None:
    found = set()
    for seed in range(60):
        root = tmp_path / str(seed)
        root.mkdir()
        volume = volume_of(root, seed)
        disk = PowerCutDisk(volume)
        fd = disk.open_append("test", root / "new")
        disk.append("test", fd, NEW)
        disk.sync("test", fd)
        os.close(fd)
        disk.unlink("test", root / "old")
        after = left(cut_now(volume))
        assert after.get("new", NEW) == NEW
        found.add(("new" in after, "old" in after))
    assert found == {(True, True), (True, False), (False, True), (False, False)}


def test_a_cut_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    cuts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        volume = volume_of(tmp_path / name, 5, "mixed")
        disk = PowerCutDisk(volume)
        fd = disk.open_append("test", tmp_path / name / "old")
        disk.append("test", fd, NEW * 20)
        os.close(fd)
        cuts.append(cut_now(volume))
    assert cuts[0] == cuts[1]
    cuts[0].restore(tmp_path / "again")
    assert (tmp_path / "again/old").read_bytes() == cuts[0].left[Path("old")]


def test_what_is_written_past_it_is_found(tmp_path: Path) -> None:
    volume = volume_of(tmp_path)
    (tmp_path / "old").write_bytes(b"changed")
    (tmp_path / "place/more").touch()
    assert volume.untold() == ["old", "place/more"]
