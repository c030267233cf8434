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
PAUSE = 5.0
LONGEST_PAUSE = 600.0
SETTLED = 3600.0
"""Seconds after which a node that began anew has come to rest."""

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


def pause_before(rounds: int) -> float:
    """Seconds to wait before the node begins anew when it has done so `rounds` times: its disk itself may be failing."""
    return min(PAUSE * 2 ** min(rounds - 1, 20), LONGEST_PAUSE) if rounds > 0 else 0.0


class StoreWatch:
    """`check` says what is wrong with the file, `check_all` looks at its bodies, too (both block).

    `damage` is set once, with why.
    """

    def __init__(
        self, path: Path, clock: Clock, check: Callable[[], str], check_all: Callable[[], str]
    ) -> None:
        self.damage: StoreDamaged | None = None
        self.found = asyncio.Event()
        self._path = path
        self._clock = clock
        self._check = check
        self._check_all = check_all
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

    async def doubted(self, doubt: str) -> None:
        """Somebody else takes the database for damaged; only what is found here counts. Raises Transient."""
        problem = ""
        for _ in range(2):  # a key that a rotation destroys meanwhile looks like damage, once
            if not (problem := await asyncio.to_thread(self._check_all)):
                log.warning("%s; nothing was found wrong with %s itself", doubt, self._path)
                return
        self._note(f"cannot trust {self._path}: {problem}", suspect=True)

    def damaged(self, problem: str) -> None:
        """SQLite met damage in this process; from any thread."""
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
