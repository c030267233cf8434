"""Watching directories, on the system's own inotify."""

import asyncio
import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry.kit.bell import Bell
from skerry.kit.directory_watch import DirectoryWatch
from skerry.testing.waiting import eventually


@pytest.fixture
def bell() -> Bell:
    return Bell()


async def rung(bell: Bell, change: Callable[[], object]) -> None:
    """What a change does to the bell."""
    before = bell.count
    change()
    await eventually(lambda: bell.count > before, "it rings")


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_whatever_happens_in_a_directory_rings(bell: Bell, tmp_path: Path) -> None:
    watch, file = DirectoryWatch(bell), tmp_path / "a"
    assert await watch.watch([tmp_path])
    assert not await watch.watch([tmp_path])
    await rung(bell, file.touch)
    await rung(bell, lambda: file.write_text("1"))
    await rung(bell, lambda: file.chmod(0o600))
    await rung(bell, lambda: file.rename(tmp_path / "b"))
    await rung(bell, (tmp_path / "b").unlink)
    watch.close()


async def test_many_events_are_one_ring_and_reading_is_none(bell: Bell, tmp_path: Path) -> None:
    watch, read, written = DirectoryWatch(bell), tmp_path / "read", tmp_path / "written"
    read.mkdir()
    written.mkdir()
    (read / "a").write_text("1")
    await watch.watch([read, written])
    (read / "a").read_text()
    for n in range(100):
        (written / str(n)).write_text("1")
    await eventually(lambda: bell.count > 0, "it rings")
    (read / "a").read_text()
    await rung(bell, (written / "more").touch)
    assert bell.count == 2
    watch.close()


async def test_what_is_written_for_long_rings_meanwhile(bell: Bell, tmp_path: Path) -> None:
    watch = DirectoryWatch(bell)
    await watch.watch([tmp_path])

    async def write() -> None:
        while True:
            (tmp_path / "a").write_text("1")
            await asyncio.sleep(0.02)

    writing = asyncio.create_task(write())
    await eventually(lambda: bell.count > 1, "it rings twice")
    writing.cancel()
    watch.close()


async def test_a_directory_that_is_removed_and_made_again_is_watched_anew(
    bell: Bell, tmp_path: Path
) -> None:
    watch, directory = DirectoryWatch(bell), tmp_path / "d"
    directory.mkdir()
    await watch.watch([directory])
    number = directory.stat().st_ino

    def again() -> None:
        directory.rmdir()
        directory.mkdir()

    await rung(bell, again)
    assert await watch.watch([directory]), f"inode {number}, now {directory.stat().st_ino}"
    await rung(bell, (directory / "a").touch)
    watch.close()


async def test_of_a_directory_that_is_missing_the_one_above_is_watched(
    bell: Bell, tmp_path: Path
) -> None:
    watch, directory = DirectoryWatch(bell), tmp_path / "d" / "e"
    await watch.watch([directory])
    await rung(bell, directory.parent.mkdir)
    assert await watch.watch([directory])
    await rung(bell, directory.mkdir)
    assert await watch.watch([directory])
    await rung(bell, (directory / "a").touch)
    watch.close()


async def test_closed_it_holds_no_descriptor_and_rings_no_more(bell: Bell, tmp_path: Path) -> None:
    before = descriptors()
    watch = DirectoryWatch(bell)
    await watch.watch([tmp_path])
    (tmp_path / "a").touch()
    watch.close()
    assert descriptors() == before
    assert await watch.watch([tmp_path]), "it can begin anew"
    await rung(bell, (tmp_path / "b").touch)
    assert await watch.watch([]) is False
    assert descriptors() == before


async def test_trouble_is_told_once_and_each_call_tries_again(
    bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used_up(*_: object, **__: object) -> None:
        raise OSError("no watch is left")

    watch = DirectoryWatch(bell)
    with monkeypatch.context() as broken:
        broken.setattr(ctypes, "CDLL", used_up)
        assert await watch.watch([tmp_path]), "that is news"
        assert watch.trouble == "directories cannot be watched (no watch is left)"
        assert not await watch.watch([tmp_path])
    assert await watch.watch([tmp_path])
    assert watch.trouble == ""
    await rung(bell, (tmp_path / "a").touch)
    watch.close()
