"""What watches directories notices that another one has taken the place of one."""

from __future__ import annotations

import shutil
from pathlib import Path

from skerry.kit.bell import Bell
from skerry.kit.clock import SystemClock
from skerry.kit.directory_watch import DirectoryWatch
from skerry.testing.waiting import eventually


async def test_a_directory_with_the_number_of_the_one_before_is_watched(tmp_path: Path) -> None:
    """File systems give the number of a directory that went to the next one; ext4 does so at once."""
    bell, directory = Bell(), tmp_path / "w"
    directory.mkdir()
    watch = DirectoryWatch(bell, SystemClock())

    def heard() -> bool:
        (directory / "file").touch()
        return bell.count > 0

    try:
        assert await watch.watch([directory])
        await eventually(heard, "the directory is watched")
        shutil.rmtree(directory)
        directory.mkdir()
        await eventually(lambda: watch.watch([directory]), "the new one is watched")
    finally:
        await watch.close()
