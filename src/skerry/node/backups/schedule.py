"""Backups by the clock: a child makes each (`backups.__main__`), so that the agent stays as small as it is.

A failure is an event, the first of a row, and a line of `doctor`; it is tried again every quarter of an hour. The child
reads the whole database, so it is also who finds damage that nobody has touched: `damaged` is asked to look then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from skerry.kit.archive.rotation import held, is_due
from skerry.kit.clock import Clock
from skerry.kit.errors import Transient
from skerry.node.backups.place import backup_directory
from skerry.node.node_settings import NodeSettings, to_bytes
from skerry.wire.local import BackupStatus
from skerry.wire.records import Meta, Value

FIRST = 60.0
"""Seconds after the start, when what was to be started has been."""

AGAIN = 900.0
_DAMAGED = 3
_LONGEST = 3600.0

log = logging.getLogger(__name__)

Tell = Callable[[str, Value, Meta], Awaitable[None]]


class Outcome(msgspec.Struct, frozen=True):
    """How a child ended, and its last words."""

    code: int
    words: str


Run = Callable[[NodeSettings, int | None], Awaitable[Outcome]]


class Backups:
    """Looks every `FIRST` seconds. `left` is what the data directory may still grow by, `owner` the word in the names."""

    def __init__(  # noqa: PLR0913 - what makes them, and who hears of it
        self,
        settings: NodeSettings,
        owner: str,
        clock: Clock,
        *,
        run: Run,
        tell: Tell,
        left: Callable[[], int | None],
        damaged: Callable[[str], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self._run = run
        self._tell = tell
        self._left = left
        self._damaged = damaged
        self._tried_at: int | None = None
        self._failed = ""
        self._directory = backup_directory(settings)

    def status(self) -> BackupStatus:
        """What is there now, for people."""
        files: list[tuple[str, int]] = []
        with contextlib.suppress(OSError):
            files = [(path.name, path.stat().st_size) for path in self._directory.glob("node-*")]
        there = held("node", self._owner, files)
        last = there[-1] if there else None
        return BackupStatus(
            str(self._directory),
            len(there),
            None if last is None else _made_at(self._directory / last.name),
            0 if last is None else last.size,
            self._failed,
        )

    async def once(self) -> None:
        """Has one made if it is due."""
        now = self._clock.wall_ns()
        last = self.status().last_at
        if self._failed and not is_due(self._tried_at, now, AGAIN):
            return
        if is_due(last, now, self._settings.storage.backup_interval):
            self._tried_at = now
            await self._make()

    async def _make(self) -> None:
        outcome = await self._run(self._settings, self._left())
        if outcome.code == 0:
            self._failed = ""
            log.info("a backup was made: %s", outcome.words)
            return
        if not self._failed:
            await self._tell("skerry.backup.failed", outcome.words, {})
        self._failed = outcome.words
        log.warning("no backup was made: %s", outcome.words)
        if outcome.code == _DAMAGED:
            await self._damaged(outcome.words)


async def run_child(settings: NodeSettings, room: int | None) -> Outcome:
    """One backup in a process of its own, which ends with us."""
    descriptor = os.memfd_create("skerry-settings", 0)
    try:
        os.write(descriptor, to_bytes(settings))
        os.lseek(descriptor, 0, os.SEEK_SET)
        words = [sys.executable, "-m", "skerry.node.backups", str(descriptor)]
        process = await asyncio.create_subprocess_exec(
            *words,
            *([] if room is None else [str(room)]),
            pass_fds=(descriptor,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(descriptor)
    try:
        async with asyncio.timeout(_LONGEST):
            said, complained = await process.communicate()
    except TimeoutError as error:
        raise Transient(f"cannot make a backup: it took more than {_LONGEST:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = (complained or said).decode(errors="replace").strip().splitlines()
    return Outcome(process.returncode or 0, lines[-1] if lines else "it ended without a word")


def _made_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
