"""The memory that drivers share has a size of its own: whoever fills it fills nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nesting import nest
from tests.small_disk import fill, small_disk

from skerry.kit.tmpfs import Tmpfs, tmpfs_below, unmount
from skerry.node.cyberwave.places import shared_places

SIZE = 1 << 20


@pytest.fixture
def memory(short_dir: Path) -> Iterator[Path]:
    with small_disk(short_dir / "m", 8) as memory:
        yield memory
        for place in tmpfs_below(memory):
            unmount(place)


def filled(directory: Path) -> int:
    """How many bytes had room."""
    return fill(directory).stat().st_size


@pytest.mark.guarantee("G4")
def test_who_fills_the_shared_memory_leaves_the_rest_alone(memory: Path) -> None:
    shared = shared_places(memory, memory / "disk", SIZE, seals=False)
    assert shared.memory == memory / "shared"
    assert shared.bus == memory / "disk"
    assert filled(shared.memory) == SIZE
    assert shared.memory.stat().st_mode & 0o7777 == 0o1777
    (memory / "journal").write_bytes(bytes(SIZE))


@pytest.mark.guarantee("G4")
def test_the_shared_memory_has_so_many_files_at_most(memory: Path) -> None:
    """Their names and directories are in the device's memory beside its size, and the agent reads all of them."""
    for _ in range(2):
        shared = shared_places(memory, memory / "disk", SIZE, seals=False)
        assert shared.memory
        assert os.statvfs(shared.memory).f_files == 16384


def test_the_next_agent_keeps_what_is_in_it_and_gives_it_its_size(memory: Path) -> None:
    shared = shared_places(memory, memory / "disk", SIZE, seals=False)
    assert shared.memory
    assert filled(shared.memory) == SIZE
    again = shared_places(memory, memory / "disk", 2 * SIZE, seals=False)
    assert (again.memory, again.bus) == (shared.memory, shared.bus)
    assert (shared.memory / "hog").stat().st_size == SIZE
    assert filled(shared.memory) == 2 * SIZE
    assert tmpfs_below(memory) == [memory / "shared"]


def test_what_holds_more_than_its_new_size_goes_on_being_shared(
    memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = shared_places(memory, memory / "disk", 2 * SIZE, seals=False)
    assert shared.memory
    assert filled(shared.memory) == 2 * SIZE
    again = shared_places(memory, memory / "disk", SIZE, seals=False)
    assert (again.memory, again.bus) == (shared.memory, shared.bus)
    assert f"{shared.memory} keeps its size: " in caplog.text
    (shared.memory / "hog").unlink()
    assert filled(shared.memory) == 2 * SIZE


def test_a_node_that_encrypts_has_the_files_of_the_bus_in_memory(memory: Path) -> None:
    on_disk = memory / "disk" / "bus"
    on_disk.mkdir(parents=True)
    (on_disk / "1.bin").write_bytes(b"of before")
    nest(on_disk, 3000, "sample")
    shared = shared_places(memory, on_disk, SIZE, seals=True)
    assert shared.bus == memory / "bus"
    assert filled(shared.bus) == SIZE
    assert not on_disk.exists()


def test_where_nothing_can_be_mounted_no_memory_is_shared(
    memory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    shared = shared_places(memory, memory / "disk", SIZE, seals=True)
    assert (shared.memory, shared.bus) == (None, memory / "bus")
    assert "Zenoh goes by TCP: cannot mount a tmpfs at" in caplog.text


def test_what_is_no_place_is_told(memory: Path) -> None:
    assert "mount" in Tmpfs(memory / "none", SIZE).mounted()
    assert unmount(memory / "none")


def test_what_cannot_be_removed_in_clear_is_told(
    memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_disk = memory / "disk" / "bus"
    on_disk.mkdir(parents=True)
    with small_disk(on_disk / "mounted", 1):  # it cannot be removed
        shared_places(memory, on_disk, SIZE, seals=True)
    assert f"rm -r {on_disk}" in caplog.text
