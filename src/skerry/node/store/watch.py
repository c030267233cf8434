"""Looks after the database while the node runs: is the file still ours, and does it pass SQLite's quick check?

Damage in pages that nobody reads is found before somebody needs them; what SQLite meets itself the writer tells. A
look takes a thousandth of the time between two at most, so a large database is looked at seldom.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from skerry.kit.clock import NS, Clock
from skerry.kit.errors import Corrupt

FILE_EVERY = 5.0
LOOK_EVERY = 60.0
_SHARE = 1000

log = logging.getLogger(__name__)


class StoreDamaged(Corrupt):
    """The running node's database is not to be trusted: the node begins anew, and opening it rebuilds it.

    `suspect`: the file there is the damaged one, whatever a check would find. `kek` opens the keys for who begins anew.
    """

    kek = b""

    def __init__(self, problem: str, *, suspect: bool) -> None:
        super().__init__(problem)
        self.suspect = suspect


class StoreWatch:
    """`check` says what is wrong with the file (blocking). `damage` is set once, with why."""

    def __init__(self, path: Path, clock: Clock, check: Callable[[], str]) -> None:
        self.damage: StoreDamaged | None = None
        self.found = asyncio.Event()
        self._path = path
        self._clock = clock
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._file = _identity(path)
        self._next = clock.monotonic_ns() + int(LOOK_EVERY * NS)

    async def once(self) -> None:
        """One look."""
        if _identity(self._path) != self._file:
            gone = (
                f"cannot find {self._path} any more: it was removed or replaced while the node ran"
            )
            self._note(gone, suspect=False)
            return
        began = self._clock.monotonic_ns()
        if began < self._next:
            return
        if problem := await asyncio.to_thread(self._check):
            self._note(f"cannot trust {self._path}: {problem}", suspect=True)
        took = self._clock.monotonic_ns() - began
        self._next = self._clock.monotonic_ns() + max(int(LOOK_EVERY * NS), took * _SHARE)

    def damaged(self, problem: str) -> None:
        """Somebody met damage; from any thread."""
        self._loop.call_soon_threadsafe(lambda: self._note(problem, suspect=True))

    def _note(self, problem: str, *, suspect: bool) -> None:
        if self.damage is None:
            log.error("%s. The node begins anew and rebuilds it; the workloads go on", problem)
            self.damage = StoreDamaged(problem, suspect=suspect)
            self.found.set()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
