"""What drivers hold on a disk, however they put it there: real files, processes and mounts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hidden_files import hidden_files
from tests.small_disk import small_disk

from skerry.node.drivers.disk_measure import held_in, space_of, trim, unnamed
from skerry.node.drivers.disk_use import Space

MB = 1 << 20


def all_of(place: Path) -> dict[int, Space]:
    device, space = space_of(place)
    return {device: Space(space.size, space.free)}  # each file for nothing


def test_files_are_measured_by_their_blocks_once_each(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(bytes(MB))
    (tmp_path / "again").hardlink_to(tmp_path / "a/file")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(100 * MB)
    (tmp_path / "link").symlink_to("/")
    assert MB <= held_in(tmp_path, all_of(tmp_path)) < MB + 100_000
    assert MB <= held_in(tmp_path / "a/file", all_of(tmp_path)) < MB + 100_000
    assert held_in(tmp_path / "gone", all_of(tmp_path)) == 0
    assert held_in(tmp_path, {}) == 0


def test_many_files_weigh_what_others_lack_of_them(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    [(device, space)] = all_of(tmp_path).items()
    assert held_in(tmp_path, {device: Space(space.size, space.free, each=MB)}) == 101 * MB


def test_what_is_hidden_too_deep_counts_as_all_there_is(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        opened = os.open(disk, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=opened)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=opened)
            os.close(opened)
            opened = below
        os.close(opened)
        spaces = all_of(disk)
        assert held_in(disk, spaces) == next(iter(spaces.values())).size


def test_files_without_a_name_count_for_who_holds_them_open(tmp_path: Path) -> None:
    with hidden_files(tmp_path) as hider:
        assert held_in(tmp_path, all_of(tmp_path)) < MB
        [(device, size)] = unnamed(hider).items()
    assert device == tmp_path.stat().st_dev
    assert 5_000_000 <= size < 5_100_000
    assert not unnamed(os.getpid())
    assert not unnamed(2**22 + 1)


def test_the_oldest_of_the_bus_goes_whatever_its_time_says(tmp_path: Path) -> None:
    outside, bus = tmp_path / "outside", tmp_path / "bus"
    (bus / "cw__a").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").write_bytes(bytes(MB))
    (bus / "link").symlink_to(outside)
    files = [bus / "cw__a" / f"{number}.bin" for number in range(4)]
    for file in files:
        file.write_bytes(bytes(MB))
        os.utime(file, (2e9, 2e9))
    os.utime(files[0], (4e9, 4e9))
    os.utime(files[0].parent, (1, 1))
    files.append(files.pop(0))  # it was changed last
    _, space = space_of(bus)
    plain = Space(space.size, space.free)
    assert trim(bus, plain, 10 * MB) == 0
    assert 2 * MB <= trim(bus, plain, 2 * MB + 65536) < 3 * MB
    assert [file.exists() for file in files] == [False, False, True, True]
    assert trim(bus, plain, 0) > 0
    assert (outside / "kept").exists()
    assert not list(bus.iterdir())


def test_nothing_is_too_deep_in_the_bus_to_go(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=opened)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = below
    with os.fdopen(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=opened), "wb") as file:
        file.write(bytes(MB))
    os.close(opened)
    _, space = space_of(tmp_path)
    assert trim(tmp_path, Space(space.size, space.free), 0) >= MB
    assert not list(tmp_path.iterdir())
