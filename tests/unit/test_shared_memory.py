"""Which files of Zenoh's shared memory may be removed."""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.nesting import nest

from skerry.node.bus.shared_memory import MEMORY, clear, sweep

NOW = 2_000_000_000.0


def file(memory: Path, name: str, age: float = 100.0) -> Path:
    path = memory / name
    path.write_bytes(b"x")
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_only_old_ones_of_zenohs_that_nobody_has_locked(tmp_path: Path) -> None:
    used, left = file(tmp_path, "1.zenoh"), file(tmp_path, "2.zenoh")
    young, other = file(tmp_path, "3.zenoh", 5.0), file(tmp_path, "sem")
    link = tmp_path / "4.zenoh"
    link.symlink_to(other)
    with used.open() as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        assert sweep(NOW, tmp_path) == ["2.zenoh"]
        assert [p.exists() for p in (used, left, young, other, link)] == [True, False, True, True, True]  # fmt: skip
    assert sweep(NOW, tmp_path) == ["1.zenoh"]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A tmpfs."""
    with TemporaryDirectory(dir=MEMORY, prefix="sk-") as directory:
        yield Path(directory)


def test_of_its_own_memory_all_goes_that_nobody_uses(tmp_path: Path, memory: Path) -> None:
    (tmp_path / "1").symlink_to("/proc/self")  # those of others only root may look at
    (memory / "below").mkdir()
    for name, age in (("sem", 100.0), ("1.zenoh", -1e9), ("below/deep", 100.0), ("young", 5.0)):
        file(memory, name, age)
    opened, mapped = file(memory, "opened"), file(memory, "mapped")
    (memory / "link").symlink_to(opened)
    os.utime(memory / "link", (NOW - 100, NOW - 100), follow_symlinks=False)
    with opened.open(), mapped.open("rb") as source:
        mapping = mmap.mmap(source.fileno(), 1, access=mmap.ACCESS_READ)
        source.close()
        assert clear(NOW, memory, tmp_path) == ["1.zenoh", "deep", "link", "sem"]
        mapping.close()
        assert {path.name for path in memory.iterdir()} >= {"opened", "mapped", "young"}
    assert clear(NOW, memory, tmp_path) == ["mapped", "opened"]


def test_what_lies_deep_goes_without_taking_the_agents_descriptors(
    memory: Path, tmp_path: Path
) -> None:
    (tmp_path / "1").symlink_to("/proc/self")
    descriptors = len(os.listdir("/proc/self/fd")) + 60  # noqa: PTH208 - only how many
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    nest(memory, 2000, "left")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        assert clear(time.time() + 100, memory, tmp_path) == ["left"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(memory.iterdir()) == []


def test_what_is_made_while_it_is_looked_stays(memory: Path, tmp_path: Path) -> None:
    """However long the look takes: a publisher that comes meanwhile dates its file as it likes."""
    places = [memory / "one", memory / "two"]
    for place in places:
        place.mkdir()
        file(place, f"old-{place.name}")

    class Processes(type(tmp_path)):  # type: ignore[misc]
        def iterdir(self) -> Iterator[Path]:
            for place in places:
                file(place, "made", age=-1e6)
            return iter(())

    assert clear(NOW, memory, Processes(tmp_path)) == ["old-one", "old-two"]
    assert all((place / "made").exists() for place in places)
