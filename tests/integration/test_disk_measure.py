"""What drivers hold on a disk, however they put it there: real files, processes and mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
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


HIDES = """
import mmap, os, sys
for name, size in ("opened", 3_000_000), ("mapped", 2_000_000):
    file = open(name, "w+b")
    file.write(bytes(size))
    file.flush()
    os.unlink(name)
    if name == "opened":
        opened = file
mapped = mmap.mmap(os.dup(file.fileno()), 0)
file.close()
os.closerange(opened.fileno() + 1, 100)  # mmap keeps a descriptor, too
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def hider(tmp_path: Path) -> Iterator[int]:
    """A program in a room of its own, as a container's are, that holds 5 MB in files without a name; its process."""
    words = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", HIDES]
    with subprocess.Popen(
        words, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != b"ready\n":
            pytest.skip("mounting a file system is not permitted")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        yield int(children)
        process.stdin.close()


def test_files_without_a_name_count_for_who_holds_them_open(tmp_path: Path, hider: int) -> None:
    assert held_in(tmp_path, all_of(tmp_path)) < MB
    assert 5_000_000 <= unnamed(hider) < 5_100_000
    assert unnamed(os.getpid()) == 0
    assert unnamed(2**22 + 1) == 0


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
