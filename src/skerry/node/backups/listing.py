"""What lies in the directory of backups. It may be a share that does not answer: nobody waits for it for long.

A look that hangs keeps a thread of its own, which neither the agent's other work nor its end waits for, and there is
only one of them. Neighbour: `schedule`, which asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from pathlib import Path

import msgspec

from skerry.kit.archive.rotation import held

DEADLINE = 5.0


class Seen(msgspec.Struct, frozen=True):
    """How many backups there are, and the newest one: ns since 1970, bytes."""

    kept: int = 0
    last_at: int | None = None
    last_size: int = 0


class Listing:
    """`seen` is what the last look found that was answered. `owner` is the word in the names; `deadline` in seconds."""

    def __init__(self, directory: Path, owner: str, deadline: float = DEADLINE) -> None:
        self.seen = Seen()
        self._directory = directory
        self._owner = owner
        self._deadline = deadline
        self._look: Future[Seen] | None = None
        self._hangs = False

    async def refresh(self) -> bool:
        """Looks again. False: the directory does not answer, and `seen` is as it was."""
        if self._look is None or self._look.done():
            self._look, self._hangs = Future(), False
            work = (self._look,)
            threading.Thread(target=self._answer, args=work, name="backups", daemon=True).start()
        if self._hangs:
            return False
        try:
            async with asyncio.timeout(self._deadline):
                self.seen = await asyncio.shield(asyncio.wrap_future(self._look))
        except TimeoutError:
            self._hangs = True
            return False
        return True

    def _answer(self, look: Future[Seen]) -> None:
        look.set_result(self.look())

    def look(self) -> Seen:
        """What is there; blocks."""
        files: dict[str, tuple[int, int]] = {}
        with contextlib.suppress(OSError):
            for path in self._directory.glob("node-*"):
                with contextlib.suppress(FileNotFoundError):  # made room for another one meanwhile
                    found = path.stat()
                    files[path.name] = (found.st_size, found.st_mtime_ns)
        there = held("node", self._owner, ((name, size) for name, (size, _) in files.items()))
        if not there:
            return Seen()
        last = there[-1]
        return Seen(len(there), files[last.name][1], last.size)
