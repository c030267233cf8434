"""Zenoh's shared memory that publishers have left behind: killed ones do not remove their files, and memory fills."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from skerry.kit.clock import Clock

MEMORY = Path("/dev/shm")  # noqa: S108 - Zenoh's place
_SUFFIX = ".zenoh"
_YOUNG = 30.0
"""Seconds in which a publisher may not have mapped what it has made."""

_EVERY = 60.0

log = logging.getLogger(__name__)


async def keep_swept(clock: Clock) -> None:
    """From the start on, for ever."""
    while True:
        removed = await asyncio.to_thread(sweep, clock.wall_ns() / 1e9)
        if removed:
            log.info(
                "removed %d pieces of shared memory that no program uses any more", len(removed)
            )
        await clock.sleep(_EVERY)


def sweep(now: float, memory: Path = MEMORY, processes: Path = Path("/proc")) -> list[str]:
    """Removes files that no process maps; returns their names. `now` is in seconds since 1970. Blocks.

    Processes of containers are seen, too. Where one cannot be looked at, nothing of its user's is removed.
    """
    old = {
        (status.st_dev, status.st_ino): (path, status.st_uid)
        for path in memory.glob(f"*{_SUFFIX}")
        if (status := _status(path)) and now - status.st_mtime > _YOUNG
    }
    if not old:
        return []
    mapped: set[tuple[int, int]] = set()
    hidden: set[int] = set()
    for process in processes.iterdir():
        if process.name.isdigit():
            _look(process, mapped, hidden)
    unused = [
        path for file, (path, user) in old.items() if file not in mapped and user not in hidden
    ]
    return [path.name for path in unused if _remove(path)]


def _look(process: Path, mapped: set[tuple[int, int]], hidden: set[int]) -> None:
    try:
        with (process / "maps").open("rb") as maps:
            for line in maps:
                if _SUFFIX.encode() in line:
                    mapped.add(_file_of(line.split(maxsplit=5)))
    except PermissionError:
        with contextlib.suppress(OSError):
            hidden.add(process.stat().st_uid)
    except OSError:
        return  # it has ended meanwhile


def _file_of(words: list[bytes]) -> tuple[int, int]:
    major, _, minor = words[3].partition(b":")
    return os.makedev(int(major, 16), int(minor, 16)), int(words[4])


def _status(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return path.lstat()
    return None


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError as error:
        log.warning("cannot remove %s, which nobody uses: %s", path, error.strerror)
        return False
    return True
