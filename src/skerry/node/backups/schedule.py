"""Backups by the clock: a child makes each (`backups.__main__`), so that the agent stays as small as it is.

A failure is an event, the first of a row, and a line of `doctor`; it is tried again every quarter of an hour. The child
reads the whole database, so it is also who finds damage that nobody has touched: `damaged` is asked to look then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable

import msgspec

from skerry.kit.archive.rotation import is_due
from skerry.kit.clock import Clock
from skerry.kit.errors import Transient
from skerry.node.backups.listing import Listing
from skerry.node.backups.place import backup_directory
from skerry.node.handing_over import Handed, hand_over
from skerry.node.node_settings import NodeSettings
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
        self._clock = clock
        self._run = run
        self._tell = tell
        self._left = left
        self._damaged = damaged
        self._tried_at: int | None = None
        self._failed = ""
        self._directory = backup_directory(settings)
        self._listing = Listing(self._directory, owner)

    async def status(self) -> BackupStatus:
        """What is there now, for people; what was there, where the directory does not answer."""
        silent = "" if await self._listing.refresh() else f"{self._directory} does not answer"
        seen, problem = self._listing.seen, silent or self._failed
        return BackupStatus(
            str(self._directory),
            seen.kept,
            seen.last_at,
            seen.last_size,
            problem,
            interval=self._settings.storage.backup_interval,
        )

    async def once(self) -> None:
        """Has one made if it is due."""
        now = self._clock.wall_ns()
        if not await self._listing.refresh():
            return  # a child would hang, too
        last = self._listing.seen.last_at
        if self._failed and not is_due(self._tried_at, now, AGAIN):
            return
        if is_due(last, now, self._settings.storage.backup_interval):
            self._tried_at = now
            await self._make()

    async def _make(self) -> None:
        try:
            outcome = await self._run(self._settings, self._left())
        except Transient as error:
            outcome = Outcome(1, str(error))
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


async def run_child(
    settings: NodeSettings, room: int | None, *, kek: Callable[[], bytes] = bytes
) -> Outcome:
    """One backup in a process of its own, which ends with us. `kek` is what the node's keys are opened with now.

    Raises Transient when it takes too long.
    """
    descriptor = hand_over(Handed(settings, kek()))
    try:
        words = [sys.executable, "-P", "-m", "skerry.node.backups", str(descriptor)]
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
