"""Notices that something has happened in directories.

It only rings: what is there now is read by whoever waits, so an event too many or too few does no harm. Where
directories cannot be watched (no inotify watches left, a file system without events), `trouble` says so and whoever
waits has to look more often.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from skerry.kit.bell import Bell
from skerry.kit.inotify import IGNORED, Inotify

STEP = 0.1
"""Seconds of rest that end the collecting of events, which ring once."""

STEPS = 10
"""As many at most: a file that is written for longer counts as several changes."""


class DirectoryWatch:
    """Watches one set of directories at a time. `watch` may be called again and again; `close` when done."""

    def __init__(self, bell: Bell) -> None:
        self.trouble = ""
        self._bell = bell
        self._places: frozenset[_Place] = frozenset()
        self._inotify: Inotify | None = None
        self._rest: asyncio.TimerHandle | None = None

    async def watch(self, directories: Iterable[Path]) -> bool:
        """From now on these; of one that is missing, the nearest one above it. True: what is watched has changed.

        A directory that another one has taken the place of is watched anew. After trouble each call tries again.
        """
        wanted = list(directories)
        places = await asyncio.to_thread(lambda: frozenset(map(_place, wanted)))
        before = (self._places, self.trouble)
        if before == (places, ""):
            return False
        self.close()
        self._places = places
        self.trouble = self._begin(path for path, _, _ in places) if places else ""
        return bool(places) and before != (places, self.trouble)

    def close(self) -> None:
        """Watches nothing any more."""
        self._places = frozenset()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _begin(self, paths: Iterable[Path]) -> str:
        try:
            self._inotify = Inotify(paths)
        except OSError as error:
            return f"directories cannot be watched ({error})"
        self._await_event(self._inotify)
        return ""

    def _await_event(self, inotify: Inotify) -> None:
        asyncio.get_running_loop().add_reader(inotify.fd, self._noticed, inotify)

    def _noticed(self, inotify: Inotify) -> None:
        asyncio.get_running_loop().remove_reader(inotify.fd)
        self._collect(inotify, STEPS)

    def _collect(self, inotify: Inotify, steps: int) -> None:
        """Rings after a step without an event, or after the last one."""
        events = inotify.read()
        if events & IGNORED:
            self._places = frozenset()
        if events and steps:
            loop = asyncio.get_running_loop()
            self._rest = loop.call_later(STEP, self._collect, inotify, steps - 1)
        else:
            self._await_event(inotify)
            self._bell.ring()


_Place = tuple[Path, int, int]


def _place(directory: Path) -> _Place:
    """The directory or the nearest one above it, and which one this is now."""
    for path in (directory, *directory.parents):
        with contextlib.suppress(OSError):
            found = path.stat()
            return path, found.st_dev, found.st_ino
    return Path("/"), 0, 0
