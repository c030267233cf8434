"""Waits until something may have come into directories."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Collection
from pathlib import Path

from skerry.kit.inotify import IGNORED, Inotify


class Arrivals:
    """Where directories cannot be watched only time passes."""

    def __init__(self) -> None:
        self._paths: frozenset[Path] = frozenset()
        self._inotify: Inotify | None = None

    def wait(self, paths: Collection[Path], seconds: float) -> None:
        """At most so long. Returns at once when other directories are to be watched: something may be there already."""
        if self._paths != frozenset(paths):
            self._watch(frozenset(paths))
        elif self._inotify is None:
            time.sleep(seconds)
        elif self._happens(self._inotify, seconds) & IGNORED:
            self._paths = frozenset()

    def close(self) -> None:
        """Watches nothing any more."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    @staticmethod
    def _happens(inotify: Inotify, seconds: float) -> int:
        """The bits of what happens within that time."""
        return inotify.read() if select.select([inotify.fd], [], [], seconds)[0] else 0

    def _watch(self, paths: frozenset[Path]) -> None:
        self.close()
        self._paths = paths
        with contextlib.suppress(OSError):
            self._inotify = Inotify(paths)
