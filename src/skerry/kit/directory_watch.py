"""Notices that something has happened in directories, by inotify through `watchfiles`.

It only rings: what is there now is read by whoever waits, so an event too many or too few does no harm. Where
directories cannot be watched (no inotify watches left, a file system without events), `trouble` says so and whoever
waits has to look more often.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from skerry.kit.bell import Bell
from skerry.kit.clock import Clock

DEBOUNCE = 1000
"""Milliseconds of one event's collecting: a file that is written for longer counts as several changes."""

STEP = 100
"""Milliseconds of rest that end it."""

TRY_AGAIN = 60.0
"""Seconds."""


class DirectoryWatch:
    """Watches one set of directories at a time. `watch` may be called again and again; `close` when done."""

    def __init__(self, bell: Bell, clock: Clock) -> None:
        self.trouble = ""
        self._clock = clock
        self._bell = bell
        self._places: frozenset[_Place] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def watch(self, directories: Iterable[Path]) -> bool:
        """From now on these; of one that is missing, the nearest one above it. True: what is watched has changed.

        A directory that another one has taken the place of is watched anew.
        """
        wanted = list(directories)
        places = await asyncio.to_thread(lambda: frozenset(map(_place, wanted)))
        if places == self._places and self._task is not None and not self._task.done():
            return False
        await self.close()
        self._places = places
        if places:
            paths = frozenset(path for path, _, _ in places)
            self._task = asyncio.create_task(self._follow(paths), name="watch directories")
        return bool(places)

    async def close(self) -> None:
        """Watches nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, paths: frozenset[Path]) -> None:
        from watchfiles import Change, awatch  # noqa: PLC0415 - only nodes that watch something pay for it

        def gone(path: Path, change: Change) -> bool:
            # What comes in its place may have the same inode number, and is watched by nobody.
            return change == Change.deleted and path in paths

        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        while True:
            changes = awatch(
                *paths,
                watch_filter=None,
                debounce=DEBOUNCE,
                step=STEP,
                recursive=False,
                ignore_permission_denied=True,
                yield_on_timeout=True,
            )
            try:
                async for events in changes:
                    self.trouble = ""
                    if any(gone(Path(path), change) for change, path in events):
                        self._places = frozenset()
                    if events:
                        self._bell.ring()
            except (OSError, RuntimeError) as error:
                if not self.trouble:
                    self._bell.ring()
                self.trouble = f"directories cannot be watched ({error})"
            await self._clock.sleep(TRY_AGAIN)


_Place = tuple[Path, int, int]


def _place(directory: Path) -> _Place:
    """The directory or the nearest one above it, and which one this is now."""
    for path in (directory, *directory.parents):
        with contextlib.suppress(OSError):
            found = path.stat()
            return path, found.st_dev, found.st_ino
    return Path("/"), 0, 0
